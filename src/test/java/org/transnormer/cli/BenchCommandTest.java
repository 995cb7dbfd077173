package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import org.junit.jupiter.api.Test;

class BenchCommandTest {

    @Test
    void aStepIsTimedBesideItsProducts() throws IOException {
        JsonNode json = json("bench step --preset nano --batch 1 --sequence 16 --size 16 --seconds 0.01 --json");
        assertThat(json.at("/settings/batch").intValue()).isEqualTo(1);
        JsonNode results = json.get("results");
        double milliseconds = results.get("ms_per_step_median").doubleValue();
        assertThat(milliseconds).isGreaterThanOrEqualTo(results.get("ms_per_step_best").doubleValue()).isPositive();
        assertThat(results.get("tokens_per_s").doubleValue()).isCloseTo(16 / milliseconds * 1e3,
                withinPercentage(1e-6));
        assertThat(results.get("share_of_the_step_").doubleValue()).isCloseTo(
                100 * results.get("ms_of_products_at_that_rate").doubleValue() / milliseconds, withinPercentage(1e-6));
        assertThat(results.get("peak_memory_mib").doubleValue())
                .isGreaterThan(results.get("planned_tensors_mib").doubleValue());
    }

    @Test
    void aProfileHasTheCallsOfAStep() {
        Outcome o = Outcome.of("bench step --preset nano --batch 1 --sequence 16 --size 16 --seconds 0.01 --profile")
                .succeeds();
        assertThat(o.out()).contains("machine: ", "java: 25", "settings: backend vector", "batch 1, sequence 16")
                .containsPattern("Linear\\.backwardWeight +[\\d.]+ +[\\d.]+ +9 +[\\d,]+\\R")
                .containsPattern("together +[\\d.]+ +100\\.0");
    }

    @Test
    void attentionIsTimedByLength() throws IOException {
        JsonNode json = json("bench attention --sequence 8,24 --heads 2 --head-dim 4 --seconds 0.01 --json");
        JsonNode rows = json.at("/results/lengths");
        assertThat(rows).hasSize(2);
        assertThat(rows.get(0).get("ratio").doubleValue()).isEqualTo(1);
        assertThat(rows.get(1).get("tokens").intValue()).isEqualTo(24);
        assertThat(rows.get(1).get("forward_and_backward_ns_per_token").doubleValue()).isPositive();
        assertThat(json.at("/settings/head dim").intValue()).isEqualTo(4);
        assertThat(json.at("/machine/processor").textValue()).isNotBlank();
    }

    @Test
    void decodingIsTimedByPosition() throws IOException {
        JsonNode json = json("bench decode --preset nano --position 3,40 --seconds 0.01 --json");
        JsonNode rows = json.at("/results/positions");
        assertThat(rows).hasSize(2);
        assertThat(rows.get(1).get("position").intValue()).isEqualTo(40);
        assertThat(rows.get(1).get("tensors_mib")).isEqualTo(rows.get(0).get("tensors_mib"));
        assertThat(rows.get(1).get("us_per_token").doubleValue()).isPositive();
    }

    @Test
    void productsAreTimedInAllDirections() {
        Outcome o = Outcome.of("bench gemm --size 8 --seconds 0.01").succeeds();
        assertThat(o.out()).contains("GFLOP/s", "ratio", "forward T=8", "backward input", "backward weight", "peer ");
    }

    @Test
    void whatIsWrongIsSaidInOneLine() {
        Outcome.of("bench step --seconds 0").fails(ExitCode.USAGE, "--seconds", "0.0");
        Outcome.of("bench step --preset none").fails(ExitCode.USAGE, "none", "nano");
        Outcome.of("bench gemm --backend scalar").fails(ExitCode.USAGE, "vector backend only");
        Outcome.of("bench gemm --openblas /nowhere.so").fails(ExitCode.USAGE, "/nowhere.so", "OpenBLAS");
        Outcome.of("bench collectives --backend vector").fails(ExitCode.USAGE, "GPUs exchange by NCCL");
        assertThat(Outcome.of("bench").status()).isEqualTo(ExitCode.USAGE);
    }

    private static JsonNode json(String command) throws IOException {
        return new ObjectMapper().readTree(Outcome.of(command).succeeds().out());
    }
}
