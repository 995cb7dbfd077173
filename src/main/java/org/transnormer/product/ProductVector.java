package org.transnormer.product;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import org.transnormer.simd.Rows;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.Arguments;
import org.transnormer.tensor.Tensor;

/**
 * {@link Product} on F32, several rows to a thread. One rounding per element as in the spec, where it is of the exact
 * product: every result equals the spec's bit for bit. SPEC section 3.6.
 */
public final class ProductVector implements Product {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(Simd.ORDER);
    private final Workers workers;

    public ProductVector(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor a, Tensor b, Tensor y) {
        check("a", a, a);
        check("b", b, a);
        check("y", y, a);
        long rows = a.dim(0);
        long columns = a.dim(1);
        long perTask = Rows.perTask(columns);
        workers.run(Rows.tasks(rows, columns), (task, worker) -> {
            long end = Math.min(rows, (task + 1) * perTask);
            for (long t = task * perTask; t < end; t++) {
                multiply(a.segment(), at(a, t), b.segment(), at(b, t), y.segment(), at(y, t), columns);
            }
        });
    }

    @Override
    public void backward(Tensor a, Tensor b, Tensor dy, Tensor da, Tensor db) {
        check("a", a, a);
        check("b", b, a);
        check("dy", dy, a);
        check("da", da, a);
        check("db", db, a);
        long rows = a.dim(0);
        long columns = a.dim(1);
        long perTask = Rows.perTask(columns);
        workers.run(Rows.tasks(rows, columns), (task, worker) -> {
            long end = Math.min(rows, (task + 1) * perTask);
            for (long t = task * perTask; t < end; t++) {
                multiplyBoth(a.segment(), at(a, t), b.segment(), at(b, t), dy.segment(), at(dy, t), da.segment(),
                        at(da, t), db.segment(), at(db, t), columns);
            }
        });
    }

    /** y = a ⊙ b over one row; offsets in bytes. */
    private static void multiply(MemorySegment a, long aAt, MemorySegment b, long bAt, MemorySegment y, long yAt,
            long columns) {
        long j = 0;
        for (long end = columns - Simd.LANES; j <= end; j += Simd.LANES) {
            long byteOffset = j * Float.BYTES;
            FloatVector x = FloatVector.fromMemorySegment(Simd.FLOAT, a, aAt + byteOffset, Simd.ORDER);
            FloatVector z = FloatVector.fromMemorySegment(Simd.FLOAT, b, bAt + byteOffset, Simd.ORDER);
            x.mul(z).intoMemorySegment(y, yAt + byteOffset, Simd.ORDER);
        }
        for (; j < columns; j++) {
            long byteOffset = j * Float.BYTES;
            y.set(FLOAT, yAt + byteOffset, a.get(FLOAT, aAt + byteOffset) * b.get(FLOAT, bAt + byteOffset));
        }
    }

    /** da = dy ⊙ b, db = dy ⊙ a over one row; offsets in bytes. */
    private static void multiplyBoth(MemorySegment a, long aAt, MemorySegment b, long bAt, MemorySegment dy, long dyAt,
            MemorySegment da, long daAt, MemorySegment db, long dbAt, long columns) {
        long j = 0;
        for (long end = columns - Simd.LANES; j <= end; j += Simd.LANES) {
            long byteOffset = j * Float.BYTES;
            FloatVector x = FloatVector.fromMemorySegment(Simd.FLOAT, a, aAt + byteOffset, Simd.ORDER);
            FloatVector z = FloatVector.fromMemorySegment(Simd.FLOAT, b, bAt + byteOffset, Simd.ORDER);
            FloatVector g = FloatVector.fromMemorySegment(Simd.FLOAT, dy, dyAt + byteOffset, Simd.ORDER);
            g.mul(z).intoMemorySegment(da, daAt + byteOffset, Simd.ORDER);
            g.mul(x).intoMemorySegment(db, dbAt + byteOffset, Simd.ORDER);
        }
        for (; j < columns; j++) {
            long byteOffset = j * Float.BYTES;
            float x = a.get(FLOAT, aAt + byteOffset);
            float z = b.get(FLOAT, bAt + byteOffset);
            float g = dy.get(FLOAT, dyAt + byteOffset);
            da.set(FLOAT, daAt + byteOffset, g * z);
            db.set(FLOAT, dbAt + byteOffset, g * x);
        }
    }

    private static long at(Tensor x, long row) {
        return x.byteOffset() + row * x.stride(0) * Float.BYTES;
    }

    private static void check(String role, Tensor x, Tensor a) {
        Arguments.shape("product", role, x, a.shape());
        Arguments.f32("product", role, x);
    }
}
