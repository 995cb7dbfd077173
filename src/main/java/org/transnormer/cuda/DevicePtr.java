package org.transnormer.cuda;

import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/** Memory of a device. Not a memory segment, so that the host cannot read it by mistake. */
public record DevicePtr(long address, long bytes) {
    /** Stands for a tensor that is not there. */
    public static final DevicePtr NULL = new DevicePtr(0, 0);

    /**
     * The first element of a tensor in device memory, and the bytes from there to the end of its storage.
     *
     * @throws IllegalArgumentException if the tensor lies elsewhere
     */
    public static DevicePtr of(Tensor tensor) {
        if (!(tensor.storage() instanceof Storage.OnDevice device)) {
            throw new IllegalArgumentException(tensor + " does not lie in device memory");
        }
        return new DevicePtr(device.address() + tensor.byteOffset(), device.bytes() - tensor.byteOffset());
    }

    /** As {@link #of}; {@link #NULL} for null. */
    public static DevicePtr ofOptional(Tensor tensor) {
        return tensor == null ? NULL : of(tensor);
    }

    /** {@code count} bytes from byte {@code offset} on. */
    public DevicePtr slice(long offset, long count) {
        if (offset < 0 || count < 0 || offset > bytes - count) {
            throw new IllegalArgumentException("bytes %d to %d of %s".formatted(offset, offset + count, this));
        }
        return new DevicePtr(address + offset, count);
    }

    @Override
    public String toString() {
        return "0x%x, %d bytes".formatted(address, bytes);
    }
}
