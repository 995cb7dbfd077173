package org.transnormer.launch;

import java.util.Arrays;

/**
 * Decides, on rank 0, whether the job hangs, and who is to blame. It has no clock: time is what {@link #pass} is told,
 * which leaves out the time in which this process itself did not run. SPEC section 7.4.
 */
final class Watch {

    /**
     * Who is to blame.
     *
     * @param reason after the rank's name
     */
    record Verdict(int rank, String reason) {
    }

    /** What follows, and what the user need not fear. */
    static final String CONSEQUENCE = "; every rank ends, and the last checkpoint is whole";
    /** Steps that the median is taken over. */
    private static final int STEPS = 64;
    private static final int FEWEST_STEPS = 3;
    private final Timings timings;
    private final Moment[] moments;
    /** Nanoseconds since the last sign of life, and in the present phase. */
    private final long[] silent;
    private final long[] busy;
    private final boolean[] left;
    private final long[] steps = new long[STEPS];
    private long stepCount;

    Watch(int size, Timings timings) {
        this.timings = timings;
        moments = new Moment[size];
        Arrays.fill(moments, Moment.BEGINNING);
        silent = new long[size];
        busy = new long[size];
        left = new boolean[size];
    }

    /** A rank has said something. */
    synchronized void heard(int rank) {
        silent[rank] = 0;
    }

    /** A rank has said where it is. */
    synchronized void heard(int rank, Moment moment) {
        silent[rank] = 0;
        if (moments[rank].phases() != moment.phases()) {
            busy[rank] = 0;
        }
        moments[rank] = moment;
    }

    /** A rank is done. */
    synchronized void left(int rank) {
        left[rank] = true;
    }

    synchronized boolean hasLeft(int rank) {
        return left[rank];
    }

    /** How long a step took here. */
    synchronized void step(long nanos) {
        steps[(int) (stepCount++ % STEPS)] = nanos;
    }

    /**
     * Time has passed.
     *
     * @return who is to blame that the job ends now, or null if it goes on
     */
    synchronized Verdict pass(long nanos) {
        boolean announced = false;
        for (int r = 0; r < moments.length; r++) {
            silent[r] += nanos;
            announced |= !left[r] && moments[r].phase() != Phase.STEP;
        }
        for (int r = 0; r < moments.length; r++) {
            busy[r] += announced && moments[r].phase() == Phase.STEP ? 0 : nanos;
        }
        Verdict verdict = silence();
        return verdict != null ? verdict : hang();
    }

    private Verdict silence() {
        int longest = -1;
        for (int r = 0; r < silent.length; r++) {
            longest = !left[r] && (longest < 0 || silent[r] > silent[longest]) ? r : longest;
        }
        return longest < 0 || silent[longest] <= timings.silence().toNanos() ? null
                : new Verdict(longest, silent(timings));
    }

    static String silent(Timings timings) {
        return "no sign of life for " + seconds(timings.silence().toNanos()) + CONSEQUENCE;
    }

    private Verdict hang() {
        for (int r = 0; r < moments.length; r++) {
            Phase phase = moments[r].phase();
            long limit = phase == Phase.STEP ? stepLimit() : phase.limit().toNanos();
            if (!left[r] && busy[r] > limit) {
                return phase == Phase.STEP ? hungStep(r, limit)
                        : new Verdict(r,
                                "it has been %s for %s%s".formatted(phase.text(), seconds(limit), CONSEQUENCE));
            }
        }
        return null;
    }

    /** To blame is the rank that the others wait for: the one that has done least. */
    private Verdict hungStep(int rank, long limit) {
        int last = rank;
        for (int r = 0; r < moments.length; r++) {
            last = !left[r] && moments[r].isBehind(moments[last]) ? r : last;
        }
        boolean others = Arrays.stream(moments).anyMatch(moments[last]::isBehind);
        return new Verdict(last, "step %d hangs%s: not done after %s%s%s".formatted(moments[rank].step(),
                others ? " there" : ", and no rank has come further", seconds(limit),
                median() == 0 ? "" : ", where most take " + seconds(median()), CONSEQUENCE));
    }

    long stepLimit() {
        return Math.max(timings.step().toNanos(), Timings.MEDIANS * median());
    }

    /** Of the last steps; 0 as long as there are few. */
    private long median() {
        int n = (int) Math.min(stepCount, STEPS);
        if (n < FEWEST_STEPS) {
            return 0;
        }
        long[] sorted = Arrays.copyOf(steps, n);
        Arrays.sort(sorted);
        return sorted[n / 2];
    }

    private static String seconds(long nanos) {
        double seconds = nanos / 1e9;
        return (seconds >= 10 ? "%.0f s" : seconds >= 1 ? "%.1f s" : "%.3f s").formatted(seconds);
    }
}
