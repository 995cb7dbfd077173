package org.transnormer.verify;

import org.transnormer.tensor.Tensor;

/** got - want, element by element; asked for in order, many are read at a time. Not finite counts as 0. */
final class Errors {
    private static final int READ = 1 << 12;

    private final Tensor got;
    private final Tensor want;
    private final double[] ours;
    private final double[] theirs;
    private long first;
    private int count;

    /** @param want of the shape of got */
    Errors(Tensor got, Tensor want) {
        this.got = got;
        this.want = want;
        ours = new double[(int) Math.min(READ, want.size())];
        theirs = new double[ours.length];
    }

    double at(long i) {
        if (i < first || i >= first + count) {
            first = i;
            count = (int) Math.min(ours.length, want.size() - i);
            got.getFlat(i, ours, count);
            want.getFlat(i, theirs, count);
        }
        double error = ours[(int) (i - first)] - theirs[(int) (i - first)];
        return Double.isFinite(error) ? error : 0;
    }

    double rms() {
        double sum = 0;
        for (long i = 0; i < want.size(); i++) {
            sum += at(i) * at(i);
        }
        return want.size() == 0 ? 0 : Math.sqrt(sum / want.size());
    }

    /** The largest |got - want| of elements {@code from} (inclusive) to {@code to} (exclusive); 0 of none. */
    double largest(long from, long to) {
        double largest = 0;
        for (long i = from; i < to; i++) {
            largest = Math.max(largest, Math.abs(at(i)));
        }
        return largest;
    }
}
