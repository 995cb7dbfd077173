package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.Place;
import org.transnormer.testing.TestTensors;

/** Parts that lie on a device and are longer than what is brought from it, or to it, at a time. */
@Tag("gpu")
class DeviceFilesTest {
    private static final long ROWS = 2_500;
    private static final long COLUMNS = 1_000;

    /** The right half of the columns. */
    private static final Part.Places RIGHT = new Part.Places() {
        @Override
        public long of(long i) {
            return i / COLUMNS * 2 * COLUMNS + COLUMNS + i % COLUMNS;
        }

        @Override
        public long runFrom(long i) {
            return COLUMNS - i % COLUMNS;
        }
    };

    @TempDir
    Path folder;

    @Test
    void longPartsAreWrittenAndReadInPieces() {
        try (Gpu gpu = Gpu.open(0); TestTensors memory = new TestTensors(1)) {
            Tensor values = memory.zeros("x", DType.F32, ROWS * COLUMNS);
            Tensor back = memory.zeros("x", DType.F32, ROWS * COLUMNS);
            for (long i = 0; i < values.size(); i++) {
                values.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, 1 + i % 251);
            }
            for (DType dtype : List.of(DType.F32, DType.BF16)) {
                Path file = folder.resolve(dtype + ".safetensors");
                Place.on(gpu).use(values, back, (there, target) -> {
                    write(file, there, dtype);
                    try (Safetensors written = Safetensors.open(file)) {
                        written.readInto(right(target));
                    }
                });
                assertThat(back.segment().mismatch(values.segment())).as("%s", dtype).isEqualTo(-1);
                back.fill(0);
                try (Safetensors written = Safetensors.open(file)) {
                    Tensor whole = written.view("x");
                    for (long i = 0; i < values.size(); i += 997) {
                        assertThat(whole.getFlat(RIGHT.of(i))).isEqualTo(values.get(i));
                        assertThat(whole.getFlat(RIGHT.of(i) - COLUMNS)).as("the other half").isZero();
                    }
                }
            }
        }
    }

    private static Part right(Tensor values) {
        return new Part("x", DType.F32, new long[] {ROWS, 2 * COLUMNS}, values, RIGHT);
    }

    private static void write(Path file, Tensor values, DType dtype) {
        SafetensorsWriter writer = new SafetensorsWriter().add(right(values), dtype);
        try {
            long sum = writer.create(file) + writer.fill(file);
            try (Safetensors written = Safetensors.open(file)) {
                assertThat(written.fingerprint(0, 2) + written.fingerprint(1, 2)).isEqualTo(sum);
            }
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }
}
