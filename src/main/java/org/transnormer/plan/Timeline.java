package org.transnormer.plan;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.transnormer.backend.PlanBackend;
import org.transnormer.backend.Work;
import org.transnormer.parallel.Collective;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.Observed;

/**
 * Keeps the time of a rank's step as its calls come: one clock for the computation, one for each group's collectives that
 * run beside it; where one waits for another it takes over the later time. SPEC section 7.6.
 *
 * <p>A product that counts on all multiprocessors waits for those that a collective has: its blocks there begin when the
 * collective has ended, or after the others, in a second turn. Copies have none, and take memory's time from it.
 */
final class Timeline implements PlanBackend.Calls, Observed.Observer {
    /** When a collective beside the computation makes products stand still, or slower. */
    private record Span(double start, double end, double standstill) {
    }

    private final LeafTimes leaves;
    private final Links links;
    private final Map<Term, Double> terms = new EnumMap<>(Term.class);
    private final Map<Sums.Way, Sums.Traffic> traffic = new LinkedHashMap<>();
    /** When what computation a group's next collective waits for is done, and when its last collectives were, in order. */
    private final Map<String, Double> computed = new HashMap<>();
    private final Map<String, Deque<Double>> ends = new HashMap<>();
    /** Those of all groups that are not over, the first first. */
    private final List<Span> running = new ArrayList<>();
    /** What computation will do for the collectives of a group when it awaits them, in their order. */
    private final Map<String, Deque<Double>> additions = new HashMap<>();
    /** The longest call forwards and backwards. */
    private final Map<String, Double> attention = new HashMap<>();
    private double message;
    private double now;
    private double productFlops;
    private double attentionFlops;

    Timeline(LeafTimes leaves, Links links) {
        this.leaves = leaves;
        this.links = links;
        for (Term term : Term.values()) {
            terms.put(term, 0.0);
        }
    }

    @Override
    public void called(String component, String method, Object[] arguments) {
        Work work = Work.of(component, method, arguments);
        Term term = Term.of(component);
        if (term == Term.PRODUCTS) {
            productFlops += work.flops();
        } else {
            attentionFlops += work.flops();
        }
        double nanos = leaves.nanos(component, method, arguments, work);
        double wait = leaves.countsOnAll(component, arguments) ? waitBesideCollectives(nanos) : 0;
        spend(term, nanos);
        spend(Term.EXPOSED, wait);
        if (term == Term.ATTENTION) {
            attention.merge(method, nanos, Math::max);
        }
    }

    private void spend(Term term, double nanos) {
        now += nanos;
        terms.merge(term, nanos, Double::sum);
    }

    /** How much longer a product takes that begins now, of so many nanoseconds alone. */
    private double waitBesideCollectives(double nanos) {
        running.removeIf(span -> span.end <= now);
        double wait = 0;
        double reached = now;
        for (Span span : running) {
            double from = Math.max(reached, span.start);
            if (from >= now + nanos + wait) {
                break;
            }
            double left = now + nanos + wait - from;
            double length = Math.max(0, span.end - from);
            wait += Math.min(span.standstill * length, span.standstill * left / (1 - span.standstill));
            reached = Math.max(reached, span.end);
        }
        return Math.min(wait, nanos);
    }

    @Override
    public void called(Collective c) {
        double nanos = links.nanos(c);
        traffic.merge(new Sums.Way(c.kind(), c.group(), c.beside()),
                new Sums.Traffic(1, c.bytes(), c.sent(), links.overNetwork(c), nanos),
                (a, b) -> a.with(b, Double::sum));
        if (c.kind() == Collective.Kind.SEND) {
            message = Math.max(message, nanos);
        }
        if (c.beside()) {
            Deque<Double> before = ends.computeIfAbsent(c.group(), _ -> new ArrayDeque<>());
            double start = Math.max(computed.getOrDefault(c.group(), 0.0), before.isEmpty() ? 0 : before.getLast());
            before.addLast(start + nanos);
            double reached = start;
            for (Links.Stage stage : links.stages(c)) {
                running.add(new Span(reached, reached + stage.nanos(), stage.standstill()));
                reached += stage.nanos();
            }
            running.sort(Comparator.comparingDouble(Span::start));
            if (before.size() > Communicator.MOST_UNAWAITED + 1) {
                before.removeFirst();
            }
            additions.computeIfAbsent(c.group(), _ -> new ArrayDeque<>()).addLast(links.addition(c));
        } else {
            spend(Term.EXPOSED, nanos);
        }
    }

    @Override
    public void collectivesAwaitCompute(String group) {
        computed.put(group, now);
    }

    @Override
    public void computeAwaitsCollectives(String group, int last) {
        ends.getOrDefault(group, new ArrayDeque<>()).stream().toList().reversed().stream().skip(last).findFirst()
                .ifPresent(end -> spend(Term.EXPOSED, Math.max(0, end - now)));
        Deque<Double> left = additions.getOrDefault(group, new ArrayDeque<>());
        while (left.size() > last) {
            spend(Term.PASSES, left.removeFirst());
        }
    }

    /**
     * What a rank cannot see of itself: where rows are cut into parts, the state of the first layer reaches the last part
     * when all before have been through its attention, and the gradient of the last layer's the first part likewise. From
     * then on each part is one attention behind the one before and waits no more.
     */
    void waitForParts(int parts, int microBatches) {
        double first = attention.values().stream().mapToDouble(nanos -> nanos + message).sum();
        spend(Term.EXPOSED, (parts - 1.0) * microBatches * first);
    }

    /** What came so far. */
    Sums sums() {
        return new Sums(now, new EnumMap<>(terms), productFlops, attentionFlops, new LinkedHashMap<>(traffic));
    }
}
