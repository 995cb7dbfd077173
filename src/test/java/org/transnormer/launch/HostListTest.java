package org.transnormer.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.stream.Collectors;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.transnormer.InputException;

class HostListTest {

    /** Text of a list, and the first host that it means. */
    record Hosts(String text, String first) {
        Hosts then(Hosts other) {
            return new Hosts(text + other.text, first + other.first);
        }
    }

    @Example
    void asSlurmWritesThem() {
        assertThat(first("node1")).isEqualTo("node1");
        assertThat(first("gpu[01-04,07]-ib,login1")).isEqualTo("gpu01-ib");
        assertThat(first("a,b[1-2]")).isEqualTo("a");
        assertThat(first("r[9,1-3]n[003-004].cluster.example")).isEqualTo("r9n003.cluster.example");
    }

    @Property(tries = 300)
    void theFirstOfEveryBracketIsTaken(@ForAll("hosts") Hosts hosts, @ForAll("hosts") Hosts others) {
        assertThat(first(hosts.text())).isEqualTo(hosts.first());
        assertThat(first(hosts.text() + "," + others.text())).isEqualTo(hosts.first());
    }

    @Provide
    Arbitrary<Hosts> hosts() {
        Arbitrary<Hosts> plain = Arbitraries.strings().withChars("abcxyz0189-._").ofMinLength(1).ofMaxLength(6)
                .map(text -> new Hosts(text, text));
        Arbitrary<Hosts> bracket = numbers().list().ofMinSize(1).ofMaxSize(4).map(ranges -> new Hosts(ranges.stream()
                .map(Hosts::text).collect(Collectors.joining(",", "[", "]")), ranges.getFirst().first()));
        Arbitrary<List<Hosts>> rest = Arbitraries.oneOf(plain, bracket).list().ofMaxSize(4);
        return Combinators.combine(plain, rest).as((name, more) -> more.stream().reduce(name, Hosts::then));
    }

    private static Arbitrary<Hosts> numbers() {
        Arbitrary<String> number = Arbitraries.strings().numeric().ofMinLength(1).ofMaxLength(4);
        return Arbitraries.oneOf(number.map(n -> new Hosts(n, n)),
                Combinators.combine(number, number).as((from, to) -> new Hosts(from + "-" + to, from)));
    }

    /** Whatever comes: a host, or an error in one line that names the variable. */
    @Property(tries = 500)
    void anyTextIsAHostOrRefused(@ForAll("texts") String text) {
        try {
            assertThat(first(text)).matches("[A-Za-z0-9._-]+");
        } catch (InputException e) {
            assertThat(e).hasMessageStartingWith("SLURM_JOB_NODELIST: '").hasMessageContaining("MASTER_ADDR")
                    .hasMessageNotContaining("\n");
            assertThat(e.getMessage()).hasSizeLessThan(400);
        }
    }

    @Provide
    Arbitrary<String> texts() {
        return Arbitraries.oneOf(Arbitraries.strings().withChars("ab12[]-,. \n\u00e9").ofMaxLength(12),
                Arbitraries.strings().ofMaxLength(300));
    }

    @Example
    void whatIsNoListIsRefused() {
        for (String text : new String[] {"", ",a", "a[1-2", "a[]", "a[1-]", "a[x]", "a b", "a]", "[1,,2]"}) {
            assertThatThrownBy(() -> first(text)).as(text).isInstanceOf(InputException.class);
        }
    }

    private static String first(String text) {
        return HostList.first("SLURM_JOB_NODELIST", text);
    }
}
