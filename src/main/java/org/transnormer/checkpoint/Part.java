package org.transnormer.checkpoint;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * What one of several processes has of a tensor of a file: some of its elements, or all, or none. SPEC section 6.3.
 *
 * @param name in the file
 * @param dtype of the elements in memory, the same in every process
 * @param shape of the whole tensor
 * @param values this process's elements, in any shape; null: none
 * @param places where they lie in the whole
 */
public record Part(String name, DType dtype, long[] shape, Tensor values, Places places) {

    /** Where the elements of a part, counted row by row, lie in the whole. */
    public interface Places {
        /** A part that is the whole. */
        Places SAME = new Places() {
            @Override
            public long of(long i) {
                return i;
            }

            @Override
            public long runFrom(long i) {
                return Long.MAX_VALUE;
            }
        };

        /** Index in the whole, row by row, of element {@code i} of the part. */
        long of(long i);

        /** How many elements of the part, at least, lie behind each other in the whole from {@code i} on; 1 or more. */
        long runFrom(long i);
    }

    /** A tensor that this process has as a whole, under its own name. */
    public static Part whole(Tensor tensor) {
        return new Part(tensor.name(), tensor.dtype(), tensor.shape(), tensor, Places.SAME);
    }

    /** Tensors that this process has as a whole. */
    public static List<Part> wholes(Iterable<Tensor> tensors) {
        List<Part> parts = new ArrayList<>();
        tensors.forEach(tensor -> parts.add(whole(tensor)));
        return parts;
    }

    /** The same under another name. */
    Part named(String other) {
        return new Part(other, dtype, shape, values, places);
    }

    /** Elements of the whole. */
    long size() {
        long size = 1;
        for (long n : shape) {
            size = Math.multiplyExact(size, n);
        }
        return size;
    }
}
