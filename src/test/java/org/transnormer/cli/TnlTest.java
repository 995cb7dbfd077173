package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class TnlTest {
    @Test
    void exitCodesAreTheDocumentedOnes() {
        assertThat(new int[] { ExitCode.OK, ExitCode.CHECK_FAILED, ExitCode.USAGE, ExitCode.ENVIRONMENT })
                .containsExactly(0, 1, 2, 3);
    }
}
