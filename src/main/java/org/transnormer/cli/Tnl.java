package org.transnormer.cli;

import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The {@code tnl} program. A subcommand is a class in this package, listed in {@code subcommands}. */
@Command(name = "tnl", mixinStandardHelpOptions = true, version = "tnl 0.1.0",
        description = "TransNormerLLM: generate, train, verify.", subcommands = {})
public final class Tnl {
    private Tnl() {}

    public static void main(String[] args) {
        System.exit(new CommandLine(new Tnl()).execute(args));
    }
}
