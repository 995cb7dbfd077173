package org.transnormer.verify;

import java.util.List;
import java.util.function.LongToDoubleFunction;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** How far each tensor of a run may lie from the golden one. SPEC section 1.4 says where the figures come from. */
sealed interface GoldenTolerance {
    /** Rates and slopes have no sums behind them, and the last layer's are 1e-5 of the first's: relative, per element. */
    double RATES = 1e-6;
    /** A run in F64 against a file: what storing F32 costs, and room. */
    Absolute F64 = new Absolute(1e-6, 1e-6, 2e-6, true);
    /** A run in F32 of a model that does not magnify rounding errors. */
    Absolute F32 = new Absolute(5e-5, 2e-5, 2e-5, false);
    /** How much larger than another's an error of a run in BF16 may be. */
    double BESIDE = 1.2;

    /** Bound on |got - want| of each element. */
    LongToDoubleFunction allowed(String name, Tensor want);

    /** Bound on RMS(got - want) as a share of the RMS of {@link #allowed}, which is given. */
    double rms(String name, Tensor want, double allowed);

    /** Compares a tensor of a run with the golden one. */
    default Comparison compare(String name, Tensor got, Tensor want) {
        if (name.equals("slope_rate") || name.startsWith(GoldenCase.SLOPES)) {
            return Comparison.of(name, got, want, i -> RATES * Math.abs(want.getFlat(i)), 0.5);
        }
        LongToDoubleFunction allowed = allowed(name, want);
        return Comparison.of(name, got, want, allowed, rms(name, want, rms(want.size(), allowed)));
    }

    /** Every bit must be the same. */
    record Exact() implements GoldenTolerance {
        @Override
        public LongToDoubleFunction allowed(String name, Tensor want) {
            return _ -> 0;
        }

        @Override
        public double rms(String name, Tensor want, double allowed) {
            return 1;
        }
    }

    /**
     * Absolute for logits and losses of tokens, a share of the tensor's largest entry for gradients and states, and in
     * proportion for the rest.
     *
     * @param stored whether only the rounding of the stored values is to be expected
     */
    record Absolute(double forward, double states, double gradients, boolean stored) implements GoldenTolerance {
        @Override
        public LongToDoubleFunction allowed(String name, Tensor want) {
            if (name.endsWith("logits") || name.equals("token_losses")) {
                // what F32 storage cannot hold cannot be asked for: it binds from |logit| = 16 on
                return i -> Math.max(forward, 1.001 * DType.F32.unitRoundoff() * Math.abs(want.getFlat(i)));
            }
            double largest = largest(want);
            double bound = name.startsWith("grad.") || name.startsWith("act_grad.") ? gradients * largest
                    : name.startsWith("infer.kv_") ? states * largest : forward * Math.max(1, largest);
            return _ -> bound;
        }

        @Override
        public double rms(String name, Tensor want, double allowed) {
            if (stored) {
                return allowed > 0 ? 0.1 + DType.F32.unitRoundoff() * GoldenTolerance.rms(want) / allowed : 0.5;
            }
            return want.size() < Tolerance.RMS_ELEMENTS ? 1 : 0.5;
        }
    }

    /**
     * As {@link #F32}, or a multiple of the errors that runs of the spec with randomly rounded tensors have on this very
     * case, where that is more.
     *
     * @param spec the run of the spec in F64
     * @param scattered runs that are rounded at random
     * @param terms of the sum behind a logit
     */
    record Measured(GoldenRun spec, List<GoldenRun> scattered, int terms) implements GoldenTolerance {
        /** The spec rounds what it stores; a twin's sums round on the way, n/32 + 6 times for n terms of a norm. */
        static final double FACTOR = 16;

        /**
         * Per element: a product is one chain, off by √n/4 u in the root mean square where its n terms have one sign, as
         * behind the largest logits, and by four times that now and then; storing it costs up to half a u.
         */
        private double most() {
            return Math.max(FACTOR, 2 * Math.sqrt(terms));
        }

        @Override
        public LongToDoubleFunction allowed(String name, Tensor want) {
            LongToDoubleFunction fixed = F32.allowed(name, want);
            long row = want.rank() == 0 ? 1 : want.dim(want.rank() - 1);
            double all = noise(name);
            double[] rows = peaks(name, row);
            for (int r = 0; r < rows.length; r++) {
                rows[r] = most() * Math.max(all, rows[r]);
            }
            return i -> Math.max(fixed.applyAsDouble(i), rows[(int) (i / row)]);
        }

        @Override
        public double rms(String name, Tensor want, double allowed) {
            double fixed = GoldenTolerance.rms(want.size(), F32.allowed(name, want)) * F32.rms(name, want, allowed);
            return want.size() < Tolerance.RMS_ELEMENTS ? 1 : Math.max(fixed, FACTOR * noise(name)) / allowed;
        }

        /** RMS of the errors of a tensor, of the run where it is largest. */
        private double noise(String name) {
            return errors(name).mapToDouble(Errors::rms).max().orElseThrow();
        }

        /** Largest error of each row, of all runs. */
        private double[] peaks(String name, long row) {
            double[] peaks = new double[row == 0 ? 0 : Math.toIntExact(spec.output(name).size() / row)];
            errors(name).forEach(errors -> {
                for (int r = 0; r < peaks.length; r++) {
                    peaks[r] = Math.max(peaks[r], errors.largest(r * row, (r + 1) * row));
                }
            });
            return peaks;
        }

        private Stream<Errors> errors(String name) {
            return scattered.stream().map(run -> new Errors(run.output(name), spec.output(name)));
        }
    }

    /**
     * No worse than the spec in bf16: its RMS error on each tensor times {@link #BESIDE}, or that of the worst of its runs
     * where this is more, and no element further off than twice the worst of all its runs.
     *
     * @param rounded the spec's run rounded to nearest
     * @param scattered its runs rounded at random: a tensor of few elements may be lucky once
     */
    record BesideSpec(GoldenRun rounded, List<GoldenRun> scattered) implements GoldenTolerance {
        @Override
        public LongToDoubleFunction allowed(String name, Tensor want) {
            double worst = Stream.concat(Stream.of(rounded), scattered.stream())
                    .mapToDouble(run -> new Errors(run.output(name), want).largest(0, want.size())).max()
                    .orElseThrow();
            return _ -> 2 * worst;
        }

        @Override
        public double rms(String name, Tensor want, double allowed) {
            double worst =
                    scattered.stream().mapToDouble(run -> new Errors(run.output(name), want).rms()).max().orElse(0);
            return allowed > 0 ? Math.max(BESIDE * new Errors(rounded.output(name), want).rms(), worst) / allowed : 1;
        }
    }

    /**
     * No worse than plain PyTorch in bf16: its RMS error on each tensor times {@link #BESIDE}, or that of the worst of
     * its runs where this is more, and no element further off than the worst of all its runs times the same factor.
     *
     * @param plain PyTorch's errors
     */
    record BesidePyTorch(PlainBf16 plain) implements GoldenTolerance {
        @Override
        public LongToDoubleFunction allowed(String name, Tensor want) {
            double largest = BESIDE * plain.errors(name).largest();
            return _ -> largest;
        }

        @Override
        public double rms(String name, Tensor want, double allowed) {
            return allowed > 0 ? plain.errors(name).allowedRms() / allowed : 1;
        }
    }

    private static double largest(Tensor t) {
        return LongStream.range(0, t.size()).mapToDouble(i -> finite(Math.abs(t.getFlat(i)))).max().orElse(0);
    }

    private static double rms(Tensor t) {
        return rms(t.size(), t::getFlat);
    }

    private static double rms(long size, LongToDoubleFunction values) {
        double sum = 0;
        for (long i = 0; i < size; i++) {
            double x = finite(values.applyAsDouble(i));
            sum += x * x;
        }
        return size == 0 ? 0 : Math.sqrt(sum / size);
    }

    private static double finite(double x) {
        return Double.isFinite(x) ? x : 0;
    }
}
