package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;
import org.transnormer.backend.Backend;
import org.transnormer.backend.ObservedBackend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.verify.GradCheck;
import picocli.CommandLine;

class GradcheckCommandTest {
    @Test
    void printsALineForEachModel() {
        Outcome o = Outcome.of("gradcheck --seed 2").succeeds();
        assertThat(o.out()).contains("all gradients agree").contains(GradCheck.variants().stream()
                .map(GradCheck.Variant::name).toList());
        assertThat(o.out().lines()).hasSize(GradCheck.variants().size() + 3);
        assertThat(Outcome.of("gradcheck --seed x").status()).isEqualTo(ExitCode.USAGE);
    }

    @Test
    void aWrongGradientIsAFailedCheck() {
        StringWriter out = new StringWriter();
        int status = new CommandLine(new GradcheckCommand(GradcheckCommandTest::slightlyWrong))
                .setOut(new PrintWriter(out)).execute();
        assertThat(status).isEqualTo(ExitCode.CHECK_FAILED);
        assertThat(out.toString()).containsPattern("(?m)^base .* DIFFERS$").contains(" checks differ")
                .doesNotContain("all gradients agree");
    }

    /** The spec, with each gradient of the product of the GLU a millionth too large. */
    private static Backend slightlyWrong() {
        Backend spec = new ScalarBackend(Precision.F64, new HostMemory());
        return new ObservedBackend(spec, (component, method, arguments, nanos) -> {
            if (component.equals("Product") && method.equals("backward")) {
                Tensor da = (Tensor) arguments[3];
                for (long i = 0; i < da.size(); i++) {
                    da.setFlat(i, da.getFlat(i) * (1 + 1e-6));
                }
            }
        });
    }
}
