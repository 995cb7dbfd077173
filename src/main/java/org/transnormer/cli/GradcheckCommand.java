package org.transnormer.cli;

import java.io.PrintWriter;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import org.transnormer.backend.Backend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.tensor.HostMemory;
import org.transnormer.verify.FiniteDifference;
import org.transnormer.verify.GradCheck;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tnl gradcheck}: the backward of whole models against finite differences of their forward. SPEC section 1.5. */
@Command(name = "gradcheck", mixinStandardHelpOptions = true,
        description = "Check the gradients of small random models by finite differences.")
final class GradcheckCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "1", description = "Of weights, tokens and directions.")
    private long seed;

    @Option(names = "--all", description = "Print every check, not only the worst of each model.")
    private boolean all;

    private final Supplier<Backend> newBackend;

    GradcheckCommand() {
        this(() -> new ScalarBackend(Precision.F64, new HostMemory()));
    }

    /** @param newBackend whose gradients are checked, in F64 */
    GradcheckCommand(Supplier<Backend> newBackend) {
        this.newBackend = newBackend;
    }

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        out.printf("error = |backward - finite difference| / largest entry of the gradient; allowed %.0e%n",
                FiniteDifference.TOLERANCE);
        out.printf("%-24s  %6s  %9s  %s%n", "model", "checks", "error", "worst");
        int failed = 0;
        for (GradCheck.Variant variant : GradCheck.variants()) {
            List<GradCheck.Check> checks = check(variant);
            GradCheck.Check worst =
                    checks.stream().max(Comparator.comparingDouble(GradCheck.Check::error)).orElseThrow();
            out.printf("%-24s  %6d  %9.2e  %s%s%n", variant.name(), checks.size(), worst.error(), where(worst),
                    worst.ok() ? "" : "  DIFFERS");
            for (GradCheck.Check check : checks) {
                if (all || !check.ok()) {
                    out.printf("    %-60s %9.2e  backward %.15g, finite difference %.15g%n", where(check),
                            check.error(), check.analytic(), check.numeric());
                }
                failed += check.ok() ? 0 : 1;
            }
            out.flush();
        }
        out.println(failed == 0 ? "all gradients agree" : failed + " checks differ");
        out.flush();
        return failed == 0 ? ExitCode.OK : ExitCode.CHECK_FAILED;
    }

    private List<GradCheck.Check> check(GradCheck.Variant variant) {
        try (Backend backend = newBackend.get()) {
            return GradCheck.run(variant, seed, backend);
        }
    }

    private static String where(GradCheck.Check check) {
        return check.tensor() + " " + check.what();
    }
}
