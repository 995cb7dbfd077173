package org.transnormer.cuda;

import org.transnormer.tensor.DType;

/**
 * D = op(A) op(B) + beta C, row-major: op(A) is (m, k), op(B) is (k, n), C and D are (m, n). Row strides are in elements
 * and at least a row long. Everything that the choice of an algorithm may depend on is in here.
 *
 * @param transposeA A is stored as (k, m)
 * @param transposeB B is stored as (n, k)
 * @param input type of A and B
 * @param output type of C and D
 * @param alignment bytes to which all addresses are aligned at least
 */
public record MatmulShape(long m, long n, long k, boolean transposeA, boolean transposeB, long strideA, long strideB,
        long strideC, long strideD, DType input, DType output, int alignment) {
    /** What makes the fastest algorithms possible. */
    public static final int USUAL_ALIGNMENT = 16;

    public MatmulShape {
        if (m < 1 || n < 1 || k < 1) {
            throw new IllegalArgumentException("matmul: got m %d, n %d, k %d, want at least 1".formatted(m, n, k));
        }
        checkStride("A", strideA, transposeA ? m : k);
        checkStride("B", strideB, transposeB ? k : n);
        checkStride("C", strideC, n);
        checkStride("D", strideD, n);
        boolean known = input == output ? input == DType.F32 || input == DType.F64 || input == DType.BF16
                : input == DType.BF16 && output == DType.F32;
        if (!known) {
            throw new IllegalArgumentException("matmul: no %s from %s".formatted(output, input));
        }
    }

    /** Contiguous rows, usual alignment. */
    public static MatmulShape of(long m, long n, long k, boolean transposeA, boolean transposeB, DType input,
            DType output) {
        return new MatmulShape(m, n, k, transposeA, transposeB, transposeA ? m : k, transposeB ? k : n, n, n, input,
                output, USUAL_ALIGNMENT);
    }

    public MatmulShape withStrides(long a, long b, long c, long d) {
        return new MatmulShape(m, n, k, transposeA, transposeB, a, b, c, d, input, output, alignment);
    }

    public MatmulShape withAlignment(int bytes) {
        return new MatmulShape(m, n, k, transposeA, transposeB, strideA, strideB, strideC, strideD, input, output,
                bytes);
    }

    private static void checkStride(String matrix, long stride, long row) {
        if (stride < row) {
            throw new IllegalArgumentException("matmul: rows of %s have %d elements but a stride of %d".formatted(
                    matrix, row, stride));
        }
    }
}
