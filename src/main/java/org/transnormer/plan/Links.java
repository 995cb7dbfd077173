package org.transnormer.plan;

import java.util.HashMap;
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
    /** A message to a neighbour, µs, as NCCL's own model of its rings has it: by NVLink, by network. */
    private static final double LINK_HOP = 3.4;
    private static final double NETWORK_HOP = 14;

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
    private final Map<String, Group> groups = new HashMap<>();

    Links(Accelerator device, Layout layout, int rank) {
        this.device = device;
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
