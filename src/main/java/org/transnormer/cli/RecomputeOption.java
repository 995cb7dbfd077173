package org.transnormer.cli;

import java.util.List;
import java.util.function.Function;
import org.transnormer.model.Recompute;
import picocli.CommandLine.Option;

/** What the backward computes again instead of keeping it. */
final class RecomputeOption {

    /** What can be asked for. */
    enum Choice {
        AUTO,
        NONE,
        ATTENTION,
        GLU,
        FULL
    }

    @Option(names = "--recompute", paramLabel = "WHAT",
            description = "what the backward computes again instead of keeping it: none, attention (its output), glu (also the "
                    + "up projection), full (all but the layers' inputs), or auto: the least that fits; default "
                    + "${DEFAULT-VALUE}",
            defaultValue = "auto")
    private Choice choice;

    /** What was asked for, or what may be chosen from, the fastest first. */
    List<Recompute> candidates() {
        return choice == Choice.AUTO ? List.of(Recompute.values()) : List.of(Recompute.valueOf(choice.name()));
    }

    /**
     * The plan of what was asked for, or of the first that fits.
     *
     * @param plan counts the memory of one
     */
    Planned plan(Function<Recompute, MemoryReport> plan) {
        Planned last = null;
        for (Recompute recompute : candidates()) {
            last = new Planned(recompute, plan.apply(recompute));
            if (last.report().fits()) {
                break;
            }
        }
        return last;
    }

    /** What is computed again, and the memory that this needs. */
    record Planned(Recompute recompute, MemoryReport report) {
    }
}
