package org.transnormer.cli;

import java.io.PrintWriter;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.PlanBackend;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Recompute;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.plan.Accelerator;
import org.transnormer.plan.Plan;
import org.transnormer.plan.Planner;
import org.transnormer.plan.Setup;
import org.transnormer.train.RunData;
import org.transnormer.train.TrainSettings;
import org.transnormer.train.TrainingRun;

/**
 * A training run of which every rank is constructed and none computes: what does not fit together is found, and what is
 * needed is counted, with no GPU and none of the memory.
 *
 * @param device GPU of each rank, on the CUDA backend
 */
record DryRun(BackendOptions options, Accelerator device, Layout layout, DataParallel.Mode sharding,
        ModelConfig config, TrainSettings settings, RunData data) {

    /** The rank that needs most. */
    record Fullest(int rank, MemoryReport report) {
    }

    /** What a rank needs: one that holds a part of its rows between two others, where there is one. */
    MemoryReport sample(Recompute recompute) {
        return rank(layout.sequence() > 1 ? layout.tensor() : 0, recompute);
    }

    /** Constructs all ranks. */
    Fullest construct(Recompute recompute) {
        Fullest fullest = new Fullest(0, rank(0, recompute));
        for (int rank = 1; rank < layout.size(); rank++) {
            MemoryReport report = rank(rank, recompute);
            if (report.plan().total() > fullest.report().plan().total()) {
                fullest = new Fullest(rank, report);
            }
        }
        return fullest;
    }

    private MemoryReport rank(int rank, Recompute recompute) {
        try (Backend backend = open()) {
            new TrainingRun(backend, Mesh.planned(layout, rank), sharding, config, settings, data.train(),
                    data.heldOut(), recompute);
            return MemoryReport.of(backend, options.kind(), layout, layout.size());
        }
    }

    private Backend open() {
        return options.kind() == BackendKind.CUDA
                ? new PlanBackend(options.precision(), device.isHopper(), device.memory(), PlanBackend.Calls.NONE)
                : options.plan();
    }

    /** For people: of a GPU, where time is known too, the plan of a step. */
    void print(Fullest fullest, Recompute recompute, PrintWriter out) {
        out.printf("ranks: %d, %s, sharding %s; recompute: %s%n", layout.size(), layout, sharding.label(),
                recompute.label());
        if (options.kind() == BackendKind.CUDA) {
            Setup setup = new Setup(config, options.precision(), layout, sharding, recompute, settings.rows(),
                    settings.length(), settings.microBatches());
            out.printf("GPUs: %s%n%n", device.name());
            PlanReport.of(new Plan(device, setup, fullest.rank(), fullest.report().plan(),
                    new Planner(device).step(setup, fullest.rank()))).printLines(out);
            out.println();
        }
    }
}
