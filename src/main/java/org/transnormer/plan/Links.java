package org.transnormer.plan;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;
import org.transnormer.parallel.Collective;
import org.transnormer.parallel.Layout;

/**
 * What joins the ranks of a group, and how long a collective of theirs takes. Ranks lie on machines in their order. SPEC
 * section 7.6.
 *
 * <p>A ring goes through all ranks of a machine before it leaves it, so with k of the group's ranks on each machine one
 * message in k crosses the network; there are k such rings, each by another network card.
 */
final class Links {
    /**
     * 332, 297 and 281 of 450 GB/s: NCCL between two H200, what 1 GiB takes longer than 16 MiB, all-reduced, gathered,
     * reduced and scattered. Broadcasts and messages are taken at the first.
     */
    private static final double ALL_REDUCE_SHARE = 0.74;
    private static final double ALL_GATHER_SHARE = 0.66;
    private static final double REDUCE_SCATTER_SHARE = 0.625;
    /** Not measured: NCCL over InfiniBand and RoCE comes to 0.8 to 0.95 of the line rate in what others publish. */
    private static final double NETWORK_SHARE = 0.85;
    /** A collective begins and ends, µs; with the hops, 25 for two ranks, which 16 MiB at 222 GB/s between two H200 shows. */
    private static final double START = 18;
    /** 390 of 450 GB/s each way, and what a copy takes beyond that, µs: 4 to 64 MiB between two H200, both ways at once. */
    private static final double COPY_SHARE = 0.867;
    private static final double COPY = 10;
    /** A signal from one GPU to another, µs. */
    private static final double SIGNAL = 2.6;
    /** A kernel begins and ends, µs. */
    private static final double ADDITION = 2;
    /** How much longer products take beside a copy, of its time: 52 µs beside one of 182. */
    private static final double COPY_STANDSTILL = 52.0 / 182;
    /** A message to a neighbour, µs, as NCCL's own model of its rings has it: by NVLink, by network. */
    private static final double LINK_HOP = 3.4;
    private static final double NETWORK_HOP = 14;

    /**
     * A part of a collective.
     *
     * @param standstill how much of it a product stands still beside it that counts on all multiprocessors
     */
    record Stage(double nanos, double standstill) {
    }

    /**
     * Of a group.
     *
     * @param ranks of it
     * @param onNode of these on the first rank's machine
     */
    private record Group(int ranks, int onNode) {
        boolean crosses() {
            return onNode < ranks;
        }
    }

    private final Accelerator device;
    private final boolean copies;
    private final Map<String, Group> groups = new HashMap<>();

    /** @param copies whether ranks of one machine sum by copies between their GPUs where they may */
    Links(Accelerator device, boolean copies, Layout layout, int rank) {
        this.device = device;
        this.copies = copies;
        group("all", layout, rank, _ -> 0);
        group("data", layout, rank, layout::tensorRank);
        group("sequence", layout, rank,
                other -> layout.dataRank(other) * layout.tensor() + layout.tensorRank(other));
        group("tensor", layout, rank, layout::readerRank);
    }

    /** @param number which of the groups of this kind a rank is in */
    private void group(String name, Layout layout, int rank, IntUnaryOperator number) {
        int[] members = IntStream.range(0, layout.size())
                .filter(other -> number.applyAsInt(other) == number.applyAsInt(rank)).toArray();
        int node = rank / device.perNode();
        groups.put(name, new Group(members.length,
                (int) IntStream.of(members).filter(other -> other / device.perNode() == node).count()));
    }

    private static double share(Collective.Kind kind) {
        return switch (kind) {
            case ALL_GATHER -> ALL_GATHER_SHARE;
            case REDUCE_SCATTER -> REDUCE_SCATTER_SHARE;
            default -> ALL_REDUCE_SHARE;
        };
    }

    /** Bytes of those that a rank sends which go to another machine. */
    double overNetwork(Collective c) {
        Group group = groups.get(c.group());
        return group.crosses() ? c.sent() / group.onNode : 0;
    }

    double nanos(Collective c) {
        return stages(c).stream().mapToDouble(Stage::nanos).sum();
    }

    /** One after the other. */
    List<Stage> stages(Collective c) {
        return isCopied(c) ? copied(c) : List.of(new Stage(byNccl(c), 1));
    }

    /**
     * Two ranks send each other all that they have. Of more, all give their parts of each slice to who sums it, that adds,
     * all fetch the slices; its kernel reads every rank's part and writes two, at the memory's rate.
     */
    private List<Stage> copied(Collective c) {
        double share = c.ranks() == 2 ? 1 : c.sent() / 2 / c.bytes();
        double nanos = ((c.ranks() - 1) * COPY + SIGNAL) * 1e3 + share * c.bytes() / (device.link() * COPY_SHARE) * 1e9;
        Stage copy = new Stage(nanos, COPY_STANDSTILL);
        double sum = (c.ranks() + 2.0) / c.ranks() * c.bytes() / device.copy() * 1e9;
        return c.ranks() == 2 ? List.of(copy) : List.of(copy, new Stage(sum, 1), copy);
    }

    /** What computation that awaits a collective does for it: two ranks add what they were sent. */
    double addition(Collective c) {
        return isCopied(c) && c.ranks() == 2 ? ADDITION * 1e3 + 3 * c.bytes() / device.copy() * 1e9 : 0;
    }

    private boolean isCopied(Collective c) {
        return copies && c.mayBeCopied() && !groups.get(c.group()).crosses();
    }

    private double byNccl(Collective c) {
        Group group = groups.get(c.group());
        double rate = device.link() * share(c.kind());
        double hop = LINK_HOP;
        if (group.crosses()) {
            rate = Math.min(rate, group.onNode * device.network() * NETWORK_SHARE);
            hop += (NETWORK_HOP - LINK_HOP) / group.onNode;
        }
        double moved = c.kind() == Collective.Kind.RECEIVE ? c.bytes() : c.sent();
        return (START + c.hops() * hop) * 1e3 + moved / rate * 1e9;
    }
}
