package org.transnormer.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.InputException;

class RankTest {
    private static final Map<String, String> TORCHRUN = Map.of("RANK", "5", "WORLD_SIZE", "16", "LOCAL_RANK", "1",
            "LOCAL_WORLD_SIZE", "4", "MASTER_ADDR", "node1", "MASTER_PORT", "29500");
    private static final Map<String, String> SLURM = Map.of("SLURM_PROCID", "3", "SLURM_NTASKS", "8", "SLURM_LOCALID",
            "1", "SLURM_JOB_NODELIST", "gpu[07-08]", "SLURM_JOB_ID", "123456");

    @Example
    void noVariablesAreOneProcess() {
        assertThat(Rank.of(Map.of("PATH", "/bin", "RANK", " "))).isEqualTo(Rank.alone());
    }

    @Example
    void torchrun() {
        assertThat(Rank.of(TORCHRUN)).isEqualTo(new Rank(5, 16, 1, 4, "node1", 29500, Rank.Starter.TORCHRUN));
    }

    /** Torchrun's own server listens at the port that it gives its processes. */
    @Example
    void torchrunsOwnPortIsLeftToIt() {
        assertThat(Rank.of(with(TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE", "True")).port()).isEqualTo(29501);
        assertThat(Rank.of(with(TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE", "False")).port()).isEqualTo(29500);
    }

    /** An operator of Kubernetes starts one process a pod and says nothing of its place there. */
    @Example
    void aPodIsItsOwnMachine() {
        assertThat(Rank.of(without(without(TORCHRUN, "LOCAL_RANK"), "LOCAL_WORLD_SIZE")))
                .isEqualTo(new Rank(5, 16, 0, 0, "node1", 29500, Rank.Starter.TORCHRUN));
    }

    @Example
    void aWorldOfOneNeedsNoAddress() {
        assertThat(Rank.of(Map.of("RANK", "0", "WORLD_SIZE", "1"))).extracting(Rank::size, Rank::rank)
                .containsExactly(1, 0);
    }

    @Example
    void slurm() {
        assertThat(Rank.of(SLURM)).isEqualTo(new Rank(3, 8, 1, 0, "gpu07", 12_000 + 123_456 % 20_000,
                Rank.Starter.SLURM));
        assertThat(Rank.of(with(with(SLURM, "SLURM_STEP_NODELIST", "gpu08"), "SLURM_STEP_ID", "2"))).extracting(
                Rank::address, Rank::port).containsExactly("gpu08", 12_000 + 123_458 % 20_000);
        assertThat(Rank.of(with(with(SLURM, "MASTER_ADDR", "10.0.0.7"), "MASTER_PORT", "4000"))).extracting(
                Rank::address, Rank::port).containsExactly("10.0.0.7", 4000);
        assertThat(Rank.of(with(SLURM, "SLURM_STEP_NUM_TASKS", "4")).size()).isEqualTo(4);
    }

    @Example
    void torchrunInsideSlurmWins() {
        Map<String, String> both = new HashMap<>(SLURM);
        both.putAll(TORCHRUN);
        assertThat(Rank.of(both)).isEqualTo(Rank.of(TORCHRUN));
    }

    /** It is process 0 of its allocation, and the only one. */
    @Example
    void aBatchScriptOfSlurmIsOneProcess() {
        assertThat(Rank.of(Map.of("SLURM_PROCID", "0", "SLURM_JOB_ID", "1", "SLURM_LOCALID", "0"))).isEqualTo(
                Rank.alone());
        assertThat(Rank.of(Map.of("SLURM_PROCID", "0", "SLURM_NTASKS", "1"))).isEqualTo(Rank.alone());
        assertThat(Rank.of(Map.of("SLURM_JOB_ID", "1", "SLURM_NTASKS", "16"))).isEqualTo(Rank.alone());
    }

    @Example
    void whatIsMissingIsNamed() {
        for (String name : new String[] {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) {
            refused(without(TORCHRUN, name), "but not " + name);
        }
        refused(Map.of("LOCAL_RANK", "0"), "has LOCAL_RANK but not RANK, WORLD_SIZE");
        refused(Map.of("MASTER_ADDR", "a", "MASTER_PORT", "1"),
                "has MASTER_ADDR, MASTER_PORT but not RANK, WORLD_SIZE");
        for (String name : new String[] {"SLURM_NTASKS", "SLURM_LOCALID", "SLURM_JOB_NODELIST", "SLURM_JOB_ID"}) {
            refused(without(SLURM, name), "but not " + name);
        }
    }

    @Example
    void whatMakesNoSenseIsNamed() {
        refused(with(TORCHRUN, "RANK", "16"), "RANK=16", "from 0 to 15");
        refused(with(TORCHRUN, "RANK", "-1"), "RANK=-1");
        refused(with(TORCHRUN, "WORLD_SIZE", "many"), "WORLD_SIZE=many");
        refused(with(TORCHRUN, "LOCAL_RANK", "16"), "LOCAL_RANK=16");
        refused(with(TORCHRUN, "LOCAL_WORLD_SIZE", "1"), "LOCAL_WORLD_SIZE=1", "from 2");
        refused(with(TORCHRUN, "MASTER_PORT", "70000"), "MASTER_PORT=70000");
        refused(with(SLURM, "SLURM_PROCID", "8"), "SLURM_PROCID=8", "from 0 to 7");
        refused(with(SLURM, "SLURM_JOB_NODELIST", "gpu[07"), "SLURM_JOB_NODELIST", "does not close");
    }

    /** What the launcher of one machine gives its ranks, they read. */
    @Property(tries = 100)
    void whatTheLauncherSaysIsUnderstood(@ForAll @IntRange(min = 2, max = 64) int count,
            @ForAll @IntRange(min = 1, max = 8) int machines) {
        List<Rank> all = new ArrayList<>();
        for (int machine = 0; machine < machines; machine++) {
            Map<String, String> pod = machines == 1 ? Map.of()
                    : Map.of("RANK", "" + machine, "WORLD_SIZE", "" + machines, "MASTER_ADDR", "a", "MASTER_PORT", "7");
            LocalRanks.ranks(count, pod).forEach(rank -> all.add(Rank.of(LocalRanks.variables(rank))));
        }
        assertThat(all).hasSize(count * machines);
        for (int r = 0; r < all.size(); r++) {
            assertThat(all.get(r)).extracting(Rank::rank, Rank::size, Rank::localRank, Rank::localSize).containsExactly(
                    r,
                    all.size(), r % count, count);
            assertThat(all.get(r)).extracting(Rank::address, Rank::port).containsExactly(all.getFirst().address(),
                    all.getFirst().port());
        }
    }

    private static void refused(Map<String, String> environment, String... parts) {
        assertThatThrownBy(() -> Rank.of(environment)).isInstanceOf(InputException.class).hasMessageContainingAll(parts)
                .hasMessageNotContaining("\n");
    }

    private static Map<String, String> with(Map<String, String> environment, String name, String value) {
        Map<String, String> changed = new HashMap<>(environment);
        changed.put(name, value);
        return changed;
    }

    private static Map<String, String> without(Map<String, String> environment, String name) {
        Map<String, String> changed = new HashMap<>(environment);
        changed.remove(name);
        return changed;
    }
}
