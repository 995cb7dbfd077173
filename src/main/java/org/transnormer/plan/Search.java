package org.transnormer.plan;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.transnormer.model.DataParallel;
import org.transnormer.model.Recompute;
import org.transnormer.model.ShardTable;
import org.transnormer.parallel.Layout;

/**
 * Layouts of a number of GPUs for one step: the same model, tokens of a sequence and sequences of a step. What may change
 * is how many GPUs each layer is split over, how many hold parts of a sequence, what the others share, what is computed
 * again, and how many micro-batches the step is cut into. Nothing depends on time or chance. SPEC section 7.6.
 */
public final class Search {
    /** Tokens that a part of a sequence has at least: below that the attention's kernels run out of work. */
    private static final long SHORTEST_PART = 1024;

    private final Planner planner;
    private final Setup asked;
    private final int gpus;
    private final int rows;

    /** @param asked what to train, and how many sequences at a time: rows and micro-batches together */
    public Search(Planner planner, Setup asked) {
        this.planner = planner;
        this.asked = asked;
        gpus = asked.layout().size();
        rows = Math.multiplyExact(asked.rows(), asked.microBatches());
    }

    /**
     * The fastest that fit, the fastest first.
     *
     * <p>Not looked at is what cannot be faster than what is: a step in more micro-batches than it needs to fit, more
     * computed again than it needs to fit in one micro-batch, and more parts of a sequence than it needs to fit at all.
     *
     * @param most how many
     */
    public List<Plan> best(int most) {
        List<Plan> found = new ArrayList<>();
        for (int tensor : divisors(gpus)) {
            for (DataParallel.Mode sharding : DataParallel.Mode.values()) {
                List<Plan> fitting = List.of();
                for (int sequence : divisors(gpus / tensor)) {
                    if (fitting.isEmpty() && isPossible(tensor, sequence, sharding)) {
                        fitting = fitting(new Layout(gpus / tensor / sequence, sequence, tensor), sharding);
                    }
                }
                found.addAll(fitting);
            }
        }
        return found.stream().sorted(Comparator.comparingDouble(Plan::seconds)).limit(most).toList();
    }

    /** For each degree of what is computed again, in as few micro-batches as fit. */
    private List<Plan> fitting(Layout layout, DataParallel.Mode sharding) {
        List<Plan> plans = new ArrayList<>();
        List<Integer> parts = microBatches(layout);
        for (Recompute recompute : Recompute.values()) {
            Optional<Setup> first = parts.stream().map(n -> setup(layout, sharding, recompute, n)).filter(this::fits)
                    .findFirst();
            first.ifPresent(setup -> plans.add(plan(setup)));
            if (first.isPresent() && first.get().microBatches() == parts.getFirst()) {
                break;
            }
        }
        return plans;
    }

    /**
     * The one that fits and differs least from what was asked for: in as few of the five settings as can be, and the
     * fastest of those.
     */
    public Optional<Plan> nearest() {
        for (int changes = 1; changes <= 5; changes++) {
            int wanted = changes;
            Optional<Plan> nearest = everything().stream().filter(setup -> changes(setup) == wanted)
                    .filter(this::fits).map(this::plan).min(Comparator.comparingDouble(Plan::seconds));
            if (nearest.isPresent()) {
                return nearest;
            }
        }
        return Optional.empty();
    }

    /** Of a step that is cut only as far as it must be, everything that there is. */
    List<Setup> everything() {
        List<Setup> all = new ArrayList<>();
        for (int tensor : divisors(gpus)) {
            for (int sequence : divisors(gpus / tensor)) {
                for (DataParallel.Mode sharding : DataParallel.Mode.values()) {
                    if (isPossible(tensor, sequence, sharding)) {
                        Layout layout = new Layout(gpus / tensor / sequence, sequence, tensor);
                        for (Recompute recompute : Recompute.values()) {
                            microBatches(layout).forEach(n -> all.add(setup(layout, sharding, recompute, n)));
                        }
                    }
                }
            }
        }
        return all;
    }

    private boolean isPossible(int tensor, int sequence, DataParallel.Mode sharding) {
        int data = gpus / tensor / sequence;
        return ShardTable.canSplit(asked.config(), tensor) && rows % data == 0
                && (sequence == 1 || asked.length() % sequence == 0 && asked.length() / sequence >= SHORTEST_PART)
                && (sharding == DataParallel.Mode.REPLICATED || data * sequence > 1);
    }

    /** Numbers of micro-batches whose rows the readers can share, the smallest first. */
    private List<Integer> microBatches(Layout layout) {
        return divisors(rows / layout.data());
    }

    private Setup setup(Layout layout, DataParallel.Mode sharding, Recompute recompute, int microBatches) {
        return new Setup(asked.config(), asked.precision(), layout, sharding, recompute, rows / microBatches,
                asked.length(), microBatches);
    }

    private int changes(Setup setup) {
        return (setup.layout().tensor() == asked.layout().tensor() ? 0 : 1)
                + (setup.layout().sequence() == asked.layout().sequence() ? 0 : 1)
                + (setup.sharding() == asked.sharding() ? 0 : 1) + (setup.recompute() == asked.recompute() ? 0 : 1)
                + (setup.microBatches() == asked.microBatches() ? 0 : 1);
    }

    boolean fits(Setup setup) {
        return planner.memory(setup, sample(setup)).total() + Plan.libraries(setup.layout()) <= planner.device()
                .memory();
    }

    Plan plan(Setup setup) {
        return planner.plan(setup, sample(setup));
    }

    /** A rank with the most memory: one that holds a part between two others, where there is one. */
    private static int sample(Setup setup) {
        return setup.layout().sequence() > 1 ? setup.layout().tensor() : 0;
    }

    private static List<Integer> divisors(int n) {
        return IntStream.rangeClosed(1, n).filter(i -> n % i == 0).boxed().toList();
    }
}
