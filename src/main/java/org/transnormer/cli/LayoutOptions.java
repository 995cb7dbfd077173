package org.transnormer.cli;

import java.util.Locale;
import java.util.stream.Stream;
import org.transnormer.launch.Job;
import org.transnormer.model.DataParallel;
import org.transnormer.parallel.Layout;
import picocli.CommandLine.Option;

/** What each of several ranks does of the training. */
final class LayoutOptions {

    /** The modes by the names that their users know. */
    enum Sharding {
        NONE(DataParallel.Mode.REPLICATED),
        ZERO1(DataParallel.Mode.ZERO1),
        FULL(DataParallel.Mode.FULLY_SHARDED);

        private final DataParallel.Mode mode;

        Sharding(DataParallel.Mode mode) {
            this.mode = mode;
        }
    }

    @Option(names = "--tp", paramLabel = "N", description = "processes that each layer is split over; the others read "
            + "different rows; default ${DEFAULT-VALUE}", defaultValue = "1")
    private int tensor;

    @Option(names = "--sp", paramLabel = "N", description = "processes that hold consecutive parts of each sequence, "
            + "for long ones; default ${DEFAULT-VALUE}", defaultValue = "1")
    private int sequence;

    @Option(names = "--sharding", paramLabel = "WHAT",
            description = "what those that read different rows share: none, zero1 (the optimizer's state), full (weights and "
                    + "gradients too); default ${DEFAULT-VALUE}",
            defaultValue = "none")
    private Sharding sharding;

    /** What to give on the command line for a mode. */
    static String sharding(DataParallel.Mode mode) {
        return Stream.of(Sharding.values()).filter(s -> s.mode == mode).findFirst().orElseThrow().name()
                .toLowerCase(Locale.ROOT);
    }

    DataParallel.Mode mode() {
        return sharding.mode;
    }

    /** @throws IllegalArgumentException if the ranks do not divide by those of a tensor and a sequence group */
    Layout of(Job job) {
        return of(job.size());
    }

    /** As {@link #of(Job)}, of ranks that need not be there. */
    Layout of(int ranks) {
        if (tensor < 1 || ranks % tensor != 0) {
            throw new IllegalArgumentException("--tp %d does not divide the %d ranks".formatted(tensor, ranks));
        }
        if (sequence < 1 || ranks / tensor % sequence != 0) {
            throw new IllegalArgumentException("--sp %d does not divide the %d ranks%s".formatted(sequence,
                    ranks, tensor == 1 ? "" : " by --tp " + tensor));
        }
        return new Layout(ranks / tensor / sequence, sequence, tensor);
    }
}
