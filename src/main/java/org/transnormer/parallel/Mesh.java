package org.transnormer.parallel;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A rank's place in a {@link Layout}, and its communicators. SPEC section 7.
 *
 * @param world all ranks
 * @param data the ranks that read different data, which are other rows or other parts of the same, and hold the same part
 *     of each layer: those that gradients are summed over
 * @param sequence those of them that hold the parts of the same rows, in the order of the parts
 * @param tensor the ranks that read the same data and hold the other parts of each layer
 */
public record Mesh(Layout layout, Communicator world, Communicator data, Communicator sequence, Communicator tensor) {

    /** One process that does everything. */
    public static Mesh single() {
        return of(new Layout(1, 1), Communicator.single());
    }

    /**
     * The place of a rank. Every rank calls this. A group of one has {@link Communicator#single}, one of all ranks is
     * the world.
     *
     * @throws IllegalArgumentException if the layout has another number of ranks than the world
     */
    public static Mesh of(Layout layout, Communicator world) {
        if (layout.size() != world.size()) {
            throw new IllegalArgumentException("%s is %d ranks, and there are %d".formatted(layout, layout.size(),
                    world.size()));
        }
        int rank = world.rank();
        int tensorRank = layout.tensorRank(rank);
        Communicator data = group(world, layout.readers(), tensorRank);
        Communicator sequence = layout.data() == 1 ? data
                : group(world, layout.sequence(), layout.dataRank(rank) * layout.tensor() + tensorRank);
        return new Mesh(layout, world, data, sequence, group(world, layout.tensor(), layout.readerRank(rank)));
    }

    /**
     * Communicators of one process of a training run: the world, each other group that is made of it, and of each group
     * one for what it exchanges beside the computation.
     */
    public static int communicators(Layout layout) {
        int size = layout.size();
        int sequence = layout.data() == 1 ? 1 : layout.sequence();
        int groups = (int) IntStream.of(layout.readers(), sequence, layout.tensor())
                .filter(ranks -> ranks > 1 && ranks < size).count();
        return (size > 1 ? 1 : 0) + groups + (int) groupsBeside(layout).count();
    }

    /** Ranks of each group with a communicator for what it exchanges beside the computation. */
    private static IntStream groupsBeside(Layout layout) {
        return IntStream.of(layout.readers(), layout.sequence(), layout.tensor()).filter(ranks -> ranks > 1);
    }

    /** Bytes that these take of a GPU for sums by copies. */
    public static long besideBytes(Layout layout) {
        return groupsBeside(layout).mapToLong(ranks -> CopiedSums.memory(ranks, CopiedSums.Sizes.STANDARD)).sum();
    }

    /** How large sums beside the computation go in each group, for the user to read, where there is more than one way. */
    public Optional<String> sumsBeside() {
        List<String> ways = new ArrayList<>();
        tensor.sumsBeside().ifPresent(way -> ways.add("tensor " + way));
        data.sumsBeside().ifPresent(way -> ways.add("data " + way));
        return ways.isEmpty() ? Optional.empty() : Optional.of(String.join(", ", ways));
    }

    private static Communicator group(Communicator world, int size, int number) {
        if (size == 1) {
            return Communicator.single();
        }
        return size == world.size() ? world : world.split(number);
    }

    /** The place of a rank of which only the memory is planned: it exchanges nothing. */
    public static Mesh planned(Layout layout, int rank) {
        return new Mesh(layout, planned(rank, layout.size()), planned(layout.readerRank(rank), layout.readers()),
                planned(layout.sequenceRank(rank), layout.sequence()),
                planned(layout.tensorRank(rank), layout.tensor()));
    }

    /** The same of a rank whose whole step is planned: it says what it would exchange. */
    public static Mesh planned(Layout layout, int rank, Observed.Observer observer) {
        return new Mesh(layout, Observed.planned("all", rank, layout.size(), observer),
                Observed.planned("data", layout.readerRank(rank), layout.readers(), observer),
                Observed.planned("sequence", layout.sequenceRank(rank), layout.sequence(), observer),
                Observed.planned("tensor", layout.tensorRank(rank), layout.tensor(), observer));
    }

    private static Communicator planned(int rank, int size) {
        return size == 1 ? Communicator.single() : new Communicator.Planned(rank, size);
    }
}
