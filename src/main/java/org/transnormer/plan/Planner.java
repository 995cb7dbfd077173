package org.transnormer.plan;

import java.util.List;
import org.transnormer.backend.Backend;
import org.transnormer.backend.PlanBackend;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.train.TrainSettings;
import org.transnormer.train.TrainingRun;

/**
 * Plans training runs by constructing their ranks, and making a step of one, on a {@link PlanBackend}: what a run
 * allocates, computes and exchanges is what its code asks for, not a formula beside it. SPEC section 7.6. Takes no memory
 * of the run's size and no GPU.
 */
public final class Planner {
    /** The first, another one, and the last: all others do what the middle one does. */
    private static final int MICRO_BATCHES = 3;

    private final Accelerator device;
    private final boolean copies;
    private PlannedText text;

    /** GPUs of a machine reach each other's memory. */
    public Planner(Accelerator device) {
        this(device, true);
    }

    /** @param copies whether ranks of one machine sum by copies between their GPUs, or all by NCCL */
    Planner(Accelerator device, boolean copies) {
        this.device = device;
        this.copies = copies;
    }

    public Accelerator device() {
        return device;
    }

    /**
     * The memory and the step of a rank.
     *
     * @throws IllegalArgumentException if the ranks cannot share the model or the rows so, saying what would do
     */
    public Plan plan(Setup setup, int rank) {
        return new Plan(device, setup, rank, memory(setup, rank), step(setup, rank));
    }

    /**
     * The plan of the rank with the most memory, of several the first. Looked at are those that differ from rank 0 in one
     * axis of the layout: what one axis adds does not depend on the others.
     */
    public Plan fullest(Setup setup) {
        Layout layout = setup.layout();
        int fullest = 0;
        long most = -1;
        for (int rank = 0; rank < layout.size(); rank++) {
            if (Integer.signum(layout.dataRank(rank)) + Integer.signum(layout.sequenceRank(rank))
                    + Integer.signum(layout.tensorRank(rank)) <= 1) {
                long bytes = memory(setup, rank).total();
                fullest = bytes > most ? rank : fullest;
                most = Math.max(most, bytes);
            }
        }
        return plan(setup, fullest);
    }

    /** What a rank allocates. */
    public MemoryPlan memory(Setup setup, int rank) {
        try (PlanBackend backend = backend(setup, PlanBackend.Calls.NONE)) {
            run(setup, backend, Mesh.planned(setup.layout(), rank), text(setup));
            return backend.memory().plan();
        }
    }

    /** What a rank does in a step. */
    public Sums step(Setup setup, int rank) {
        int micro = setup.microBatches();
        if (micro <= MICRO_BATCHES) {
            return made(setup, rank);
        }
        return made(setup.withMicroBatches(MICRO_BATCHES), rank)
                .further(made(setup.withMicroBatches(MICRO_BATCHES - 1), rank), micro - MICRO_BATCHES);
    }

    /** Makes the step, all of it. */
    Sums made(Setup setup, int rank) {
        Timeline timeline = new Timeline(new LeafTimes(device), new Links(device, copies, setup.layout(), rank));
        try (PlanBackend backend = backend(setup, timeline)) {
            run(setup, backend, Mesh.planned(setup.layout(), rank, timeline), text(setup)).trainer().next();
            timeline.waitForParts(setup.layout().sequence(), setup.microBatches());
            return timeline.sums();
        }
    }

    private PlanBackend backend(Setup setup, PlanBackend.Calls calls) {
        return new PlanBackend(setup.precision(), device.isHopper(), device.memory(), calls);
    }

    private PlannedText text(Setup setup) {
        if (text == null || text.length() != setup.length()) {
            text = new PlannedText(setup.length());
        }
        return text;
    }

    /** The run of a rank, on any backend. */
    static TrainingRun run(Setup setup, Backend backend, Mesh mesh, PlannedText text) {
        return new TrainingRun(backend, mesh, setup.sharding(), setup.config(), settings(setup), text.train(),
                text.heldOut(), setup.recompute());
    }

    /** Of a run's settings only the sizes cost anything. */
    private static TrainSettings settings(Setup setup) {
        return new TrainSettings(List.of(), 0.5, setup.rows(), setup.length(), setup.microBatches(), 1, 1, "constant",
                1e-4, 1, 0, 1, 0.1, 0.9, 0.95, 1e-8, 1, 0, 0, 1);
    }
}
