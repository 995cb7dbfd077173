package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import org.transnormer.EnvironmentException;

/**
 * A GPU.
 *
 * @param ordinal its number in this process
 * @param handle the driver's number for it
 * @param major compute capability, first part
 * @param minor compute capability, second part
 * @param processors streaming multiprocessors
 * @param memory bytes
 */
public record Device(int ordinal, int handle, String name, int major, int minor, int processors, long memory) {
    /** The oldest compute capability that the kernels run on, times ten. */
    private static final int OLDEST = 80;
    /** TFLOP/s by a part of the name; the more exact names first. */
    private static final Map<String, Double> PEAKS = peaks();

    private static Map<String, Double> peaks() {
        Map<String, Double> peaks = new LinkedHashMap<>();
        peaks.put("H100 PCIe", 756.0);
        peaks.put("H100 NVL", 835.0);
        peaks.put("H100", 989.4);
        peaks.put("H200 NVL", 835.0);
        peaks.put("H200", 989.4);
        peaks.put("GH200", 989.4);
        peaks.put("A100", 311.9);
        peaks.put("A800", 311.9);
        peaks.put("B200", 2250.0);
        return peaks;
    }

    /** All GPUs that the driver shows. */
    public static List<Device> all() {
        Driver.load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT);
            Driver.check("cuDeviceGetCount", cuDeviceGetCount(out));
            List<Device> devices = new ArrayList<>();
            for (int i = 0; i < out.get(C_INT, 0); i++) {
                devices.add(query(i));
            }
            return List.copyOf(devices);
        }
    }

    /**
     * A GPU that the kernels run on.
     *
     * @throws EnvironmentException if it is not there, or too old
     */
    public static Device of(int ordinal) {
        Driver.load();
        Device device = query(ordinal);
        if (device.major * 10 + device.minor < OLDEST) {
            throw new EnvironmentException("%s has compute capability %d.%d".formatted(device.name, device.major,
                    device.minor), "the kernels need 8.0 or newer: use --backend vector, or another GPU");
        }
        return device;
    }

    private static Device query(int ordinal) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_LONG);
            Driver.check("cuDeviceGet", cuDeviceGet(out, ordinal), ordinal);
            int handle = out.get(C_INT, 0);
            MemorySegment name = arena.allocate(256);
            Driver.check("cuDeviceGetName", cuDeviceGetName(name, (int) name.byteSize(), handle));
            Driver.check("cuDeviceTotalMem_v2", cuDeviceTotalMem_v2(out, handle));
            long memory = out.get(C_LONG, 0);
            return new Device(ordinal, handle, name.getString(0),
                    attribute(handle, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR()),
                    attribute(handle, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR()),
                    attribute(handle, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT()), memory);
        }
    }

    /**
     * The most BF16 operations per second that the maker's data sheet gives, without sparsity; empty for a device that is
     * not listed here.
     */
    public OptionalDouble peakFlops() {
        return PEAKS.entrySet().stream().filter(peak -> name.contains(peak.getKey()))
                .mapToDouble(peak -> peak.getValue() * 1e12).findFirst();
    }

    /** Bytes of shared memory that one block may ask for. */
    public int sharedBytesPerBlock() {
        return attribute(handle, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN());
    }

    private static int attribute(int handle, int attribute) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT);
            Driver.check("cuDeviceGetAttribute", cuDeviceGetAttribute(out, attribute, handle), attribute);
            return out.get(C_INT, 0);
        }
    }

    /** Compute capability 9.0, whose wgmma and tensor maps no other has. */
    public boolean isHopper() {
        return major == 9 && minor == 0;
    }

    /**
     * What kernels are compiled for. Compute capability 9.0 has instructions (wgmma, TMA) that only its own
     * architecture "sm_90a" has, not its successors.
     */
    public String architecture() {
        return "sm_" + major + minor + (isHopper() ? "a" : "");
    }
}
