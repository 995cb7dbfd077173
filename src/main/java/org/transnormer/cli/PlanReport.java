package org.transnormer.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.transnormer.plan.Plan;
import org.transnormer.plan.Setup;
import org.transnormer.plan.Sums;
import org.transnormer.plan.Term;
import org.transnormer.tensor.MemoryKind;

/** A plan as it is shown: what there is, what a rank needs, what a step takes and exchanges. */
final class PlanReport extends Figures {
    private static final double GIB = 1L << 30;
    private static final double GIGA = 1e9;
    private static final double TERA = 1e12;
    private static final double MILLI = 1e6;

    private final Map<String, Object> settings = new LinkedHashMap<>();
    private final String heading;

    private PlanReport(Plan plan) {
        Setup setup = plan.setup();
        int gpus = setup.layout().size();
        settings.put("gpus", gpus);
        settings.put("device", plan.device());
        settings.put("layout", setup.layout());
        settings.put("options", options(setup));
        settings.put("sequence", setup.length());
        settings.put("dtype", setup.precision().describe());
        settings.put("model", setup.config());
        heading = """
                model: %,d parameters; width %d, %d layers, %d heads
                GPUs: %d x %s, %d to a machine; %s, %s
                step: %,d tokens of sequences of %,d; %s
                """.formatted(setup.config().parameterCount(), setup.config().width(), setup.config().layers(),
                setup.config().heads(), gpus, plan.device().name(), plan.device().perNode(), setup.layout(),
                setup.precision().describe(), setup.tokens(), setup.length(), options(setup));
    }

    /** One plan, whole. */
    static PlanReport of(Plan plan) {
        PlanReport report = new PlanReport(plan);
        report.figures(plan);
        report.memory(plan);
        report.time(plan);
        report.traffic(plan.step());
        return report;
    }

    /** Some plans beside each other, the best first, whose options the heading has. */
    static PlanReport of(List<Plan> plans) {
        PlanReport report = new PlanReport(plans.getFirst());
        List<List<Object>> rows = new ArrayList<>();
        for (Plan plan : plans) {
            rows.add(row(options(plan.setup()), plan.bytes() / GIB, plan.seconds() * 1e3, plan.tokensPerSecond(),
                    plan.tokensPerSecondEach(), plan.utilisation(),
                    100 * plan.step().terms().get(Term.EXPOSED) / plan.step().nanos()));
        }
        report.table("layouts", columns("options", "%s", "GiB", "%.1f", "ms/step", "%,.1f", "tokens/s", "%,.0f", "each",
                "%,.0f", "MFU", "%.3f", "exposed %", "%.1f"), rows);
        return report;
    }

    /** What says to {@code tnl train} that it is to be done so. */
    static String options(Setup setup) {
        return "--tp %d --sp %d --sharding %s --recompute %s --batch %d --accumulate %d".formatted(
                setup.layout().tensor(), setup.layout().sequence(), LayoutOptions.sharding(setup.sharding()),
                setup.recompute().label(), setup.rows(), setup.microBatches());
    }

    private void figures(Plan plan) {
        Sums step = plan.step();
        figure("ms per step", "%,.1f", plan.seconds() * 1e3);
        figure("tokens/s", "%,.0f", plan.tokensPerSecond());
        figure("tokens/s of each GPU", "%,.0f", plan.tokensPerSecondEach());
        figure("MFU", "%.3f", plan.utilisation());
        figure("GFLOP of products a token", "%,.2f", plan.setup().config().trainingFlops() / GIGA);
        figure("TFLOP a step of each GPU", "%,.2f", (step.productFlops() + step.attentionFlops()) / TERA);
        figure("GB by NVLink a step of each", "%,.2f", step.linkBytes() / GIGA);
        figure("GB by network a step of each", "%,.2f", step.networkBytes() / GIGA);
        figure("ms of collectives hidden", "%,.1f", step.hidden() / MILLI);
    }

    private void memory(Plan plan) {
        List<List<Object>> rows = new ArrayList<>();
        for (MemoryKind kind : MemoryKind.values()) {
            if (plan.memory().bytes(kind) > 0) {
                rows.add(memory(kind.label(), plan.memory().bytes(kind), plan));
            }
        }
        rows.add(memory("libraries", Plan.libraries(plan.setup().layout()), plan));
        rows.add(memory("together, rank %d, the fullest".formatted(plan.rank()), plan.bytes(), plan));
        table("memory", columns("memory of each GPU", "%s", "GiB", "%,.2f", "of the GPU's %", "%.1f"), rows);
    }

    private static List<Object> memory(String what, long bytes, Plan plan) {
        return row(what, bytes / GIB, 100.0 * bytes / plan.device().memory());
    }

    private void time(Plan plan) {
        List<List<Object>> rows = new ArrayList<>();
        plan.step().terms().forEach((term, nanos) -> rows.add(row(term == Term.EXPOSED ? "collectives, exposed"
                : term.label(), nanos / MILLI, 100 * nanos / plan.step().nanos())));
        table("time", columns("time of a step", "%s", "ms", "%,.1f", "share %", "%.1f"), rows);
    }

    private void traffic(Sums step) {
        List<List<Object>> rows = new ArrayList<>();
        step.traffic().forEach((way, t) -> rows.add(row("%s, %s group%s".formatted(way.kind().label(), way.group(),
                way.beside() ? ", beside" : ""), t.calls(), t.payload() / GIGA, (t.sent() - t.network()) / GIGA,
                t.network() / GIGA, t.nanos() / MILLI)));
        if (!rows.isEmpty()) {
            table("collectives", columns("collectives of a step", "%s", "calls", "%,.0f", "GB", "%,.3f",
                    "sent by NVLink GB", "%,.3f", "by network GB", "%,.3f", "ms", "%,.1f"), rows);
        }
    }

    void print(PrintWriter out, boolean json) {
        if (json) {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("tnl", Tnl.version());
            all.put("settings", settings);
            all.put("results", results());
            out.println(json(all));
        } else {
            out.println(heading);
            printLines(out);
        }
        out.flush();
    }
}
