package org.transnormer.train;

import org.transnormer.backend.Backend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.VectorBackend;
import org.transnormer.tensor.HostMemory;

/**
 * Prints the loss curve of {@link TinyRun} on the vector backend in F32: one line a step with number, loss and gradient
 * norm, in hexadecimal so that no bit is lost. Without arguments, the frozen file that {@link LossCurveTest} compares
 * with.
 */
public final class LossCurve {
    /** Steps of the frozen run; the learning rate depends on them. */
    static final int STEPS = 20;
    private static final String HEADER =
            """
                    # origin: self; the loss curve of a tiny run, vector backend, f32; equal bits for any threads and vector width
                    # regenerate: mvn -q -DskipTests package && java --add-modules=jdk.incubator.vector \
                    --enable-native-access=ALL-UNNAMED -cp 'target/test-classes:target/classes:target/tnl/lib/*' \
                    org.transnormer.train.LossCurve > golden-tests/losses/tiny-vector.txt
                    # step loss gradient_norm
                    """;

    private LossCurve() {
    }

    /** Arguments: threads, rows and tokens of a batch, how many steps to make. */
    public static void main(String[] args) {
        if (args.length == 0) {
            System.out.print(HEADER + lines(1, TinyRun.ROWS, TinyRun.LENGTH, STEPS));
        } else {
            System.out.print(lines(Integer.parseInt(args[0]), Integer.parseInt(args[1]), Long.parseLong(args[2]),
                    Integer.parseInt(args[3])));
        }
    }

    static String lines(int threads, int rows, long length, int steps) {
        StringBuilder lines = new StringBuilder();
        try (HostMemory memory = new HostMemory();
                Backend backend = new VectorBackend(Precision.F32, memory, threads)) {
            TrainSettings settings = TinyRun.settings(rows, length, STEPS, 1);
            Trainer trainer = TinyRun.start(backend, settings, TinyRun.data()).trainer();
            for (int i = 0; i < steps; i++) {
                Trainer.Outcome step = trainer.next();
                lines.append("%d %s %s\n".formatted(step.step(), Double.toHexString(step.loss()),
                        Double.toHexString(step.gradientNorm())));
            }
        }
        return lines.toString();
    }
}
