package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine;

/** What one run of the command line, in this process, came to. */
record Outcome(int status, String out, String err) {

    /** Runs a command; arguments are separated by blanks, or given one by one. */
    static Outcome of(Object... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        CommandLine tnl = Tnl.commandLine().setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true));
        List<String> words = Arrays.stream(arguments)
                .flatMap(a -> a instanceof String text ? Arrays.stream(text.split(" ")) : Arrays.stream(
                        new String[] {a.toString()}))
                .toList();
        int status = Tnl.execute(tnl, words.toArray(String[]::new));
        return new Outcome(status, out.toString(), err.toString());
    }

    Outcome succeeds() {
        assertThat(status).as(() -> out + err).isEqualTo(ExitCode.OK);
        return this;
    }

    /** One line on standard error that says all of this, and nothing but. */
    void fails(int expected, String... parts) {
        assertThat(status).as(() -> out + err).isEqualTo(expected);
        assertThat(err.strip().lines()).as(err).hasSize(1);
        assertThat(err).startsWith("tnl: ").contains(parts);
    }

    /** The number behind a label at the start of a line of the output. */
    double number(String label) {
        Matcher m = Pattern.compile("(?m)^" + Pattern.quote(label) + "\\s+(-?[\\d,.]+)").matcher(out);
        assertThat(m.find()).as("%s in %s", label, out).isTrue();
        return Double.parseDouble(m.group(1).replace(",", ""));
    }
}
