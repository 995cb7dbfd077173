package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.transnormer.verify.GradCheck;

class GradcheckCommandTest {
    @Test
    void printsALineForEachModel() {
        Outcome o = Outcome.of("gradcheck --seed 2").succeeds();
        assertThat(o.out()).contains("all gradients agree").contains(GradCheck.variants().stream()
                .map(GradCheck.Variant::name).toList());
        assertThat(o.out().lines()).hasSize(GradCheck.variants().size() + 3);
        assertThat(Outcome.of("gradcheck --seed x").status()).isEqualTo(ExitCode.USAGE);
    }
}
