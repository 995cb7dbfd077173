package org.transnormer.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The benchmarks; each prints the machine and the settings with its figures. */
@Command(name = "bench", mixinStandardHelpOptions = true, synopsisSubcommandLabel = "BENCHMARK",
        description = "Measure what the parts cost on this machine.", subcommands = {BenchGemmCommand.class,
            BenchStepCommand.class, BenchAttentionCommand.class, BenchDecodeCommand.class,
            BenchCollectivesCommand.class})
final class BenchCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "a benchmark is missing: gemm, step, attention, decode or "
                + "collectives");
    }
}
