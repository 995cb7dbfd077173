package org.transnormer.launch;

import java.util.List;
import java.util.Map;
import org.transnormer.parallel.Exchange;

/**
 * The processes that do one thing together, seen from one of them. All call the same methods in the same order. When one
 * fails, is gone, hangs or disagrees, every process ends, after one line that says who and why. SPEC section 7.4.
 */
public sealed interface Job extends Exchange, Gathering, AutoCloseable permits Alone, RankedJob {
    /** The job of this process only: nobody to wait for. */
    static Job alone() {
        return new Alone();
    }

    /**
     * Meets the other processes; returns when all have come.
     *
     * @param rank this process's place
     * @param environment with {@code TNL_SECRET}, and {@code TNL_MEETING_SECONDS}
     * @param version of the program, the same on all
     * @throws org.transnormer.InputException if a variable is missing or wrong
     * @throws org.transnormer.EnvironmentException if rank 0 cannot listen, or be reached
     * @throws JobException if a rank is missing, does not know the secret, or does not belong here
     */
    static Job join(Rank rank, Map<String, String> environment, String version) {
        return rank.size() == 1 ? alone()
                : RankedJob.join(rank, environment, version, Timings.of(environment));
    }

    /**
     * Compares what all ranks are about to do. If a rank has other lines than rank 0, all processes end, and one line says
     * which and where.
     */
    void agree(List<String> configuration);

    /** Something that may take long begins; not a step. */
    void phase(Phase phase);

    /** A step begins. */
    void step(long step);

    /** A collective begins: who has begun fewest is to blame for a step that hangs. */
    void collective();

    /**
     * Whether a step is to be begun; all ranks get the same answer. It costs no wait: rank 0 allows the next step before
     * it begins one.
     *
     * @param step one more than at the last call
     */
    boolean mayStep(long step);

    /** Lets all ranks stop soon, after the same step. */
    void requestStop();

    /**
     * Ends the process because of an error, and those of all other ranks with the same status. Rank 0 says the line; in a job
     * of one process, nothing happens.
     *
     * @param message one line
     */
    void fail(int status, String message);

    /** Ends all processes without a word, where the others wait for what will not come; alone, nothing happens. */
    void quit(int status);

    /** Returns when every rank has called it; the processes then end each by itself. */
    @Override
    void close();
}
