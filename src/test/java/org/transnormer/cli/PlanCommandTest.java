package org.transnormer.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PlanCommandTest {

    @TempDir
    Path temp;

    @Test
    void everythingIsSaidOfALayout() throws IOException {
        String options = "plan --preset 1B --gpus 16 --tp 2 --sharding full --batch 64 --device h200 --recompute none";
        Outcome plan = Outcome.of(options).succeeds();
        assertThat(plan.out()).contains("model: 1,020,266,496 parameters", "16 x h200",
                "data 8 x sequence 1 x tensor 2", "131,072 tokens",
                "gathered", "optimizer", "together, rank 0", "products", "attention", "collectives, exposed",
                "reduce-scatter, data group, beside");
        assertThat(plan.number("tokens/s of each GPU") * 16).isBetween(0.99 * plan.number("tokens/s"),
                1.01 * plan.number("tokens/s"));
        assertThat(plan.number("GB by network a step of each")).isPositive();
        JsonNode json = new ObjectMapper().readTree(Outcome.of(options + " --json").succeeds().out());
        assertThat(json.at("/results/tokens_per_s").asDouble()).isCloseTo(plan.number("tokens/s"),
                within(1.0));
        assertThat(json.at("/settings/layout/tensor").asInt()).isEqualTo(2);
        assertThat(json.at("/results/memory").size()).isGreaterThan(5);
        assertThat(Outcome.of(options + " --network 5").succeeds().number("ms per step"))
                .isGreaterThan(plan.number("ms per step"));
    }

    /** 175B on 512 GPUs, every way there is: the options that are printed do what was said of them. */
    @Test
    void theBestOf175BIsWhatItsOptionsGive() {
        String what = "plan --preset 175B --gpus 512 --sequence 8192 --device h100 ";
        String found = Outcome.of(what + "--batch 512 --search").succeeds().out();
        String[] best = found.lines().dropWhile(line -> !line.startsWith("options")).skip(1).findFirst().orElseThrow()
                .split(" {2,}");
        Outcome again = Outcome.of(what + best[0]).succeeds();
        assertThat(again.number("ms per step")).isEqualTo(Double.parseDouble(best[2].replace(",", "")));
    }

    @Test
    void whatDoesNotFitIsSaidInOneLineWithTheNearestThatDoes() {
        Outcome plan = Outcome.of("plan --preset 7B --gpus 2 --batch 16 --device h100");
        assertThat(plan.out()).contains("together, rank 0");
        plan.fails(ExitCode.ENVIRONMENT, "h100 has 78.8 GiB", "nearest that fits", "--sharding full");
        Outcome.of("plan --preset 175B --gpus 2 --device h100").fails(ExitCode.ENVIRONMENT,
                "no layout of so many fits");
        Outcome.of("plan --preset 175B --gpus 2 --device h100 --search").fails(ExitCode.ENVIRONMENT,
                "no layout of 2 x h100 fits");
    }

    @Test
    void whatMakesNoSenseIsRefused() {
        Outcome.of("plan --gpus 6 --tp 4").fails(ExitCode.USAGE, "--tp 4 does not divide the 6 ranks");
        Outcome.of("plan --preset 1B --gpus 3 --tp 3").fails(ExitCode.USAGE, "tensor parallelism over 3 ranks",
                "1, 2, 4, 8, 16");
        Outcome.of("plan --gpus 4 --batch 6").fails(ExitCode.USAGE, "--batch 6 rows cannot be shared by 4 ranks");
        Outcome.of("plan --device v100").fails(ExitCode.USAGE, "there is no device v100", "a100, h100, h200, b200");
        Outcome.of("plan --dtype f64").fails(ExitCode.USAGE, "--dtype");
        Outcome.of("plan --gpus 0").fails(ExitCode.USAGE, "must be 1 or more");
        Outcome.of("plan --network 0").fails(ExitCode.USAGE, "more than 0 bytes");
    }

    @Test
    void aDryRunConstructsEveryRankAndWritesNothing() throws IOException {
        Path out = temp.resolve("run");
        String train = "train --dry-run --lr 1e-3 --out " + out + " ";
        assertThat(Outcome.of(train + "--backend vector --ranks 8 --tp 2 --sp 2 --batch 4 --sharding zero1").succeeds()
                .out()).contains("data 2 x sequence 2 x tensor 2", "sharding zero1", "memory: weights",
                        "8 ranks constructed", "rank 2 needs most");
        Outcome gpus = Outcome.of(train
                + "--backend cuda --gpus 16 --tp 8 --sharding full --preset 13B --batch 16 --sequence 2048 --device h100");
        assertThat(gpus.succeeds().out()).contains("16 ranks constructed", "GPUs: h100", "collectives, exposed");
        assertThat(gpus.number("tokens/s")).isPositive();
        assertThat(Files.list(temp)).isEmpty();
    }

    @Test
    void aDryRunRefusesWhatARunWould() {
        String train = "train --dry-run --backend cuda --device h100 ";
        Outcome.of(train + "--gpus 6 --tp 4").fails(ExitCode.USAGE, "--tp 4 does not divide the 6 ranks");
        Outcome.of(train + "--gpus 3 --tp 3").fails(ExitCode.USAGE, "decoder_attention_heads is 4");
        Outcome.of(train + "--gpus 8").fails(ExitCode.USAGE, "--batch 4 rows cannot be shared by 8 ranks");
        Outcome.of(train + "--gpus 2 --sp 2 --sequence 255").fails(ExitCode.USAGE, "--sequence 255");
        Outcome.of(train + "--steps 0").fails(ExitCode.USAGE, "--steps");
        Outcome.of(train + "--data " + temp.resolve("none")).fails(ExitCode.USAGE, "none");
        Outcome.of(train + "--resume " + temp.resolve("none")).fails(ExitCode.USAGE, "none");
        Outcome.of(train + "--preset 7B").fails(ExitCode.ENVIRONMENT, "of the GPU's memory", "--sharding full");
    }
}
