package org.transnormer.verify;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.tensor.HostMemory;

/**
 * The spec on the weights of a run, in several ways. None of them needs another, and what all of them computed is needed
 * in the end: they run side by side.
 */
final class SpecRuns implements AutoCloseable {
    /** Runs with randomly rounded tensors that tell how far rounding carries. */
    private static final int SCATTERED = 4;

    private final GoldenCase golden;
    private final GoldenRun run;
    private final boolean composedOnly;
    private final Consumer<String> progress;
    private final List<GoldenRun> all = new ArrayList<>();
    private int done;

    /** @param run that was done */
    SpecRuns(GoldenCase golden, GoldenRun run, boolean composedOnly, Consumer<String> progress) {
        this.golden = golden;
        this.run = run;
        this.composedOnly = composedOnly;
        this.progress = progress;
    }

    /** How many of them a run of a made case may need. */
    static int most(BackendKind kind, Precision precision) {
        return switch (precision.activations()) {
            case F64 -> 0;
            case BF16 -> kind == BackendKind.CUDA ? 1 + SCATTERED : 1;
            default -> 1 + SCATTERED;
        };
    }

    /** In F64. */
    GoldenRun exact() {
        return add(new ScalarBackend(Precision.F64, new HostMemory()));
    }

    /** Each tensor rounded to nearest as the run's is. */
    GoldenRun rounded() {
        return add(RoundedSpec.nearest(run.precision()));
    }

    /** Each tensor rounded at random, differently in each. */
    List<GoldenRun> scattered() {
        List<GoldenRun> scattered = new ArrayList<>();
        for (int i = 0; i < SCATTERED; i++) {
            RandomStream random = new RandomStream(i, Purpose.SYNTHETIC, "rounding");
            scattered.add(add(RoundedSpec.scattered(run.precision(), random)));
        }
        return scattered;
    }

    private GoldenRun add(Backend backend) {
        GoldenRun added = new GoldenRun(backend, golden, run::value, composedOnly);
        all.add(added);
        return added;
    }

    /** Does what was added and not done yet. */
    void run() {
        List<GoldenRun> todo = all.subList(done, all.size());
        done = all.size();
        AtomicInteger ended = new AtomicInteger();
        // not in the pool of the streams, which the runs share their work with
        try (ExecutorService threads = Executors.newFixedThreadPool(todo.size())) {
            List<Future<?>> runs = new ArrayList<>();
            for (GoldenRun each : todo) {
                runs.add(threads.submit(() -> {
                    each.run();
                    progress.accept("%d of %d runs of the spec done".formatted(ended.incrementAndGet(), todo.size()));
                }));
            }
            for (Future<?> each : runs) {
                await(each);
            }
        }
    }

    private static void await(Future<?> run) {
        try {
            run.get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof Error error) {
                throw error;
            }
            throw (RuntimeException) e.getCause();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
    }

    @Override
    public void close() {
        all.forEach(GoldenRun::close);
    }
}
