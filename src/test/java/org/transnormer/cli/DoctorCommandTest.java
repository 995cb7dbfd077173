package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class DoctorCommandTest {
    @Test
    void describesTheMachineAndNeverFails() {
        assertThat(Outcome.of("doctor").succeeds().out()).contains(System.getProperty("os.name"),
                Runtime.getRuntime().availableProcessors() + " available", "GiB", System.getProperty(
                        "java.runtime.version"),
                "-bit vectors", "backend      vector", "libcuda.so.1", "libnvrtc.so.1",
                "libcublasLt.so.1", "libnccl.so.2");
    }
}
