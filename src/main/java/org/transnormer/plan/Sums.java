package org.transnormer.plan;

import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.DoubleBinaryOperator;
import org.transnormer.parallel.Collective;

/**
 * What one rank's step comes to.
 *
 * @param nanos from its begin to its end
 * @param terms nanoseconds by what they go into; together {@code nanos}
 * @param productFlops operations of products of activations with matrices
 * @param attentionFlops operations of the attention's recurrence
 * @param traffic by kind and group
 */
public record Sums(double nanos, Map<Term, Double> terms, double productFlops, double attentionFlops,
        Map<Way, Traffic> traffic) {

    /** Collectives of one kind, in one group, in the order of the computation or beside it. */
    public record Way(Collective.Kind kind, String group, boolean beside) {
    }

    /**
     * What they move, of one rank.
     *
     * @param calls how often
     * @param payload bytes that are reduced or gathered
     * @param sent bytes that a rank sends
     * @param network of these the ones that go to another machine
     * @param nanos that they take
     */
    public record Traffic(double calls, double payload, double sent, double network, double nanos) {
        private static final Traffic NONE = new Traffic(0, 0, 0, 0, 0);

        Traffic with(Traffic other, DoubleBinaryOperator f) {
            return new Traffic(f.applyAsDouble(calls, other.calls), f.applyAsDouble(payload, other.payload),
                    f.applyAsDouble(sent, other.sent), f.applyAsDouble(network, other.network),
                    f.applyAsDouble(nanos, other.nanos));
        }
    }

    /** Nanoseconds of collectives while computation goes on. */
    public double hidden() {
        return Math.max(0, traffic.values().stream().mapToDouble(Traffic::nanos).sum() - terms.get(Term.EXPOSED));
    }

    /** Bytes that a rank sends to others of its machine. */
    public double linkBytes() {
        return traffic.values().stream().mapToDouble(t -> t.sent() - t.network()).sum();
    }

    /** Bytes that a rank sends to other machines. */
    public double networkBytes() {
        return traffic.values().stream().mapToDouble(Traffic::network).sum();
    }

    /**
     * A step of more micro-batches than were planned: every one but the first and the last does the same.
     *
     * @param fewer the same step with one micro-batch less, but with a first and a last one
     * @param more how many there are beyond those of this one
     */
    Sums further(Sums fewer, int more) {
        DoubleBinaryOperator f = (mine, before) -> mine + more * (mine - before);
        Map<Term, Double> times = new EnumMap<>(Term.class);
        terms.forEach((term, time) -> times.put(term, f.applyAsDouble(time, fewer.terms.get(term))));
        Map<Way, Traffic> ways = new LinkedHashMap<>();
        traffic.forEach((way, t) -> ways.put(way, t.with(fewer.traffic.getOrDefault(way, Traffic.NONE), f)));
        return new Sums(f.applyAsDouble(nanos, fewer.nanos), times,
                f.applyAsDouble(productFlops, fewer.productFlops),
                f.applyAsDouble(attentionFlops, fewer.attentionFlops), ways);
    }
}
