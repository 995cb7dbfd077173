package org.transnormer.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * A kind of GPU and what joins several of them, by the makers' data sheets. SPEC section 7.6.
 *
 * @param name on the command line
 * @param memory bytes that are free on an idle one
 * @param bf16 dense BF16 operations a second
 * @param f32 F32 operations a second, without TF32
 * @param bandwidth bytes a second of its memory
 * @param copyShare how much of that a copy reaches in a step
 * @param processors multiprocessors
 * @param clock cycles a second under load
 * @param link bytes a second that it sends to others of its machine (NVLink), in one direction
 * @param network bytes a second that each sends to other machines, in one direction
 * @param perNode GPUs of a machine
 * @param isHopper whether it has compute capability 9.0, and so the kernels for that
 */
public record Accelerator(String name, long memory, double bf16, double f32, double bandwidth, double copyShare,
        int processors, double clock, double link, double network, int perNode, boolean isHopper) {
    private static final double GIB = 1L << 30;
    private static final double GIGA = 1e9;
    private static final double TERA = 1e12;

    /** 2.97 of 3.35 TB/s: cuda/NOTES.md, The training step. */
    private static final double MEASURED_COPY = 2.97 / 3.35;

    /**
     * SXM forms, in machines of eight with a network card for each. An H200 is taken to copy as an H100 does, since its
     * steps take as long (SPEC section 7.6).
     */
    public static final List<Accelerator> ALL = List.of(
            of("a100", 79.0, 312, 19.5, 2.039, MEASURED_COPY, 108, 1.41, 300, 25, false),
            of("h100", 78.8, 989.4, 66.9, 3.35, MEASURED_COPY, 132, 1.75, 450, 50, true),
            of("h200", 139.5, 989.4, 66.9, 4.8, 2.97 / 4.8, 132, 1.75, 450, 50, true),
            of("b200", 178.0, 2250, 75, 7.7, MEASURED_COPY, 148, 1.85, 900, 50, false));

    private static Accelerator of(String name, double gib, double bf16, double f32, double bandwidth,
            double copyShare, int processors, double clock, double link, double network, boolean isHopper) {
        return new Accelerator(name, (long) (gib * GIB), bf16 * TERA, f32 * TERA, bandwidth * TERA, copyShare,
                processors, clock * GIGA, link * GIGA, network * GIGA, 8, isHopper);
    }

    /**
     * The one of a name, in any case.
     *
     * @throws IllegalArgumentException listing those there are
     */
    public static Accelerator of(String name) {
        return ALL.stream().filter(a -> a.name.equals(name.toLowerCase(Locale.ROOT))).findFirst()
                .orElseThrow(() -> new IllegalArgumentException("there is no device %s; there are %s".formatted(name,
                        Arrays.toString(ALL.stream().map(Accelerator::name).toArray()).replaceAll("[\\[\\]]", ""))));
    }

    /** Bytes a second that a copy reads and writes in a step. */
    double copy() {
        return bandwidth * copyShare;
    }

    /** The same in other machines, beside another network. */
    public Accelerator joinedBy(double linkBytes, double networkBytes, int gpusPerNode) {
        if (!(linkBytes > 0 && networkBytes > 0) || gpusPerNode < 1) {
            throw new IllegalArgumentException("links and network send more than 0 bytes a second, a machine has 1 GPU "
                    + "or more; got %s, %s, %d".formatted(linkBytes, networkBytes, gpusPerNode));
        }
        return new Accelerator(name, memory, bf16, f32, bandwidth, copyShare, processors, clock, linkBytes,
                networkBytes, gpusPerNode, isHopper);
    }

    /** The same with as much memory. */
    public Accelerator withMemory(long bytes) {
        return new Accelerator(name, bytes, bf16, f32, bandwidth, copyShare, processors, clock, link, network, perNode,
                isHopper);
    }
}
