package org.transnormer.cuda;

/** The type of a kernel's parameter. */
public enum ArgumentType {
    /** Any {@code T*}. */
    POINTER(8),
    /** {@code int}. */
    INT(4),
    /** {@code long long}. */
    LONG(8),
    FLOAT(4),
    DOUBLE(8),
    /** A struct of 128 bytes: a {@link TensorMap}. */
    TENSOR_MAP(TensorMap.BYTES);

    private final int bytes;

    ArgumentType(int bytes) {
        this.bytes = bytes;
    }

    public int bytes() {
        return bytes;
    }
}
