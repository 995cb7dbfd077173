package org.transnormer.parallel;

/**
 * A rank's place in a {@link Layout}, and its communicators. SPEC section 7.
 *
 * @param world all ranks
 * @param data the ranks that read different data and hold the same part of each layer
 * @param tensor the ranks that read the same data and hold the other parts
 */
public record Mesh(Layout layout, Communicator world, Communicator data, Communicator tensor) {

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
        return new Mesh(layout, world, group(world, layout.data(), layout.tensorRank(world.rank())),
                group(world, layout.tensor(), layout.dataRank(world.rank())));
    }

    private static Communicator group(Communicator world, int size, int number) {
        if (size == 1) {
            return Communicator.single();
        }
        return size == world.size() ? world : world.split(number);
    }

    /** The place of a rank of which only the memory is planned: it exchanges nothing. */
    public static Mesh planned(Layout layout, int rank) {
        return new Mesh(layout, planned(rank, layout.size()), planned(layout.dataRank(rank), layout.data()),
                planned(layout.tensorRank(rank), layout.tensor()));
    }

    private static Communicator planned(int rank, int size) {
        return size == 1 ? Communicator.single() : new Communicator.Planned(rank, size);
    }
}
