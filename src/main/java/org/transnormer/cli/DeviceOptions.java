package org.transnormer.cli;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.transnormer.EnvironmentException;
import org.transnormer.cuda.Device;
import org.transnormer.plan.Accelerator;
import picocli.CommandLine.Option;

/** The GPUs that a plan is for, which need not be here. */
final class DeviceOptions {
    private static final String USUAL = "h100";
    private static final double GIGA = 1e9;

    @Option(names = "--device", paramLabel = "NAME",
            description = "GPU to plan for: a100 (80 GB), h100, h200, b200; default: this machine's, else " + USUAL)
    private String name;

    @Option(names = "--memory", paramLabel = "GIB", description = "free memory of each; default: the device's")
    private Double memory;

    @Option(names = "--link", paramLabel = "GB/S",
            description = "what each sends to others of its machine in one direction; default: the device's NVLink")
    private Double link;

    @Option(names = "--network", paramLabel = "GB/S",
            description = "what each sends to other machines in one direction; default: 25 for a100, 50 for the others")
    private Double network;

    @Option(names = "--per-node", paramLabel = "N", description = "GPUs of a machine; default 8")
    private Integer perNode;

    Accelerator device() {
        Accelerator device = name == null ? here().orElse(Accelerator.of(USUAL)) : Accelerator.of(name);
        Accelerator joined = device.joinedBy(link == null ? device.link() : link * GIGA,
                network == null ? device.network() : network * GIGA, perNode == null ? device.perNode() : perNode);
        return memory == null ? joined : joined.withMemory((long) (memory * (1L << 30)));
    }

    /** The kind of this machine's first GPU, if it is one of those that are known. */
    private static Optional<Accelerator> here() {
        List<Device> devices;
        try {
            devices = Device.all();
        } catch (EnvironmentException e) {
            return Optional.empty();
        }
        return devices.stream().findFirst().flatMap(gpu -> Accelerator.ALL.stream()
                .filter(a -> gpu.name().contains(a.name().toUpperCase(Locale.ROOT))).findFirst());
    }
}
