package org.transnormer.cli;

import java.util.Locale;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.UsageMessageSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The {@code tnl} program; its commands are listed in {@link CommandGroup}. */
@Command(name = "tnl", mixinStandardHelpOptions = true, versionProvider = Tnl.Version.class,
        synopsisSubcommandLabel = "COMMAND", description = "TransNormerLLM on the JVM.")
public final class Tnl implements Runnable {
    @Spec
    private CommandSpec spec;

    private Tnl() {}

    public static void main(String[] args) {
        // A comma in a number would be a point elsewhere, and some program reads these numbers.
        Locale.setDefault(Locale.Category.FORMAT, Locale.ROOT);
        System.exit(execute(commandLine(), args));
    }

    static CommandLine commandLine() {
        CommandLine tnl = new CommandLine(new Tnl());
        for (CommandGroup group : CommandGroup.values()) {
            group.commands.forEach(tnl::addSubcommand);
        }
        tnl.getHelpSectionMap().put(UsageMessageSpec.SECTION_KEY_COMMAND_LIST_HEADING, help -> "");
        tnl.getHelpSectionMap().put(UsageMessageSpec.SECTION_KEY_COMMAND_LIST, Tnl::groupedCommands);
        tnl.setCaseInsensitiveEnumValuesAllowed(true);
        tnl.setParameterExceptionHandler(Failures::reportUsage);
        tnl.setExecutionExceptionHandler((e, command, parsed) -> Failures.report(e, command.getErr()));
        return tnl;
    }

    static int execute(CommandLine tnl, String... args) {
        try {
            return tnl.execute(args);
        } catch (Error e) {
            // Picocli hands only exceptions to the handlers, and an uncaught error would exit with CHECK_FAILED.
            return Failures.report(e, tnl.getErr());
        }
    }

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "a command is missing");
    }

    private static String groupedCommands(Help help) {
        Map<String, Help> byName = help.subcommands();
        int width = byName.keySet().stream().mapToInt(String::length).max().orElse(0);
        StringBuilder text = new StringBuilder();
        for (CommandGroup group : CommandGroup.values()) {
            if (!group.commands.isEmpty()) {
                text.append("%n%s:%n".formatted(group.heading));
            }
            for (Class<?> command : group.commands) {
                String name = command.getAnnotation(Command.class).name();
                String description = String.join(" ", byName.get(name).commandSpec().usageMessage().description());
                text.append("  %s  %s%n".formatted(name + " ".repeat(width - name.length()), description));
            }
        }
        return text.toString();
    }

    /** The version of the jar; "development" outside one. */
    static String version() {
        String version = Tnl.class.getPackage().getImplementationVersion();
        return version == null ? "development" : version;
    }

    static final class Version implements IVersionProvider {
        @Override
        public String[] getVersion() {
            return new String[] {"tnl %s (Java %s, %s %s)".formatted(version(), Runtime.version(),
                    System.getProperty("os.name"), System.getProperty("os.arch"))};
        }
    }
}
