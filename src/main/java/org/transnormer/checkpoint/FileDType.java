package org.transnormer.checkpoint;

import org.transnormer.tensor.DType;

/**
 * Element types of a safetensors file, under the names that the file uses; all little-endian. {@link Safetensors#read}
 * converts the floating types of {@link DType} among each other and the integers to I32. Their order is the order in
 * which a file holds its tensors: widest first, and within a width the reference implementation's.
 */
public enum FileDType {
    U64(8),
    I64(8),
    F64(8),
    C64(8),
    F32(4),
    U32(4),
    I32(4),
    BF16(2),
    F16(2),
    U16(2),
    I16(2),
    F8_E8M0(1),
    F8_E4M3(1),
    F8_E5M2(1),
    I8(1),
    U8(1),
    BOOL(1);

    private final int bytes;

    FileDType(int bytes) {
        this.bytes = bytes;
    }

    /** The file type of a tensor's element type. */
    public static FileDType of(DType dtype) {
        return switch (dtype) {
            case F64 -> F64;
            case F32 -> F32;
            case BF16 -> BF16;
            case F16 -> F16;
            case I32 -> I32;
        };
    }

    /** Bytes per element. */
    public int bytes() {
        return bytes;
    }

    /** The element type of tensors that a tensor of this type is read into without loss; null if there is none. */
    DType tensorType() {
        return switch (this) {
            case F64 -> DType.F64;
            case F32 -> DType.F32;
            case BF16 -> DType.BF16;
            case F16 -> DType.F16;
            case I32 -> DType.I32;
            default -> null;
        };
    }

    /** Whether elements are integers that may fit I32. */
    boolean isInteger() {
        return switch (this) {
            case I64, I32, I16, I8, U64, U32, U16, U8, BOOL -> true;
            default -> false;
        };
    }
}
