package org.transnormer.cli;

import java.util.List;

/** The headings of {@code tnl --help}, each with its commands: classes of this package, in the order shown. */
enum CommandGroup {
    USE("Use", GenerateCommand.class),
    TRAIN("Train", TrainCommand.class, PlanCommand.class, EvalCommand.class),
    VERIFY("Verify", VerifyCommand.class, GradcheckCommand.class, BenchCommand.class),
    FILES("Files", InspectCommand.class),
    MACHINE("Machine", DoctorCommand.class);

    final String heading;
    final List<Class<?>> commands;

    CommandGroup(String heading, Class<?>... commands) {
        this.heading = heading;
        this.commands = List.of(commands);
    }
}
