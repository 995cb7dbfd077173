package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.nccl.NcclApi.C_CHAR;
import static org.transnormer.cuda.bindings.nccl.NcclApi.ncclGetUniqueId;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.transnormer.cuda.bindings.nccl.ncclUniqueId;

/** Names a group of ranks: one rank makes it and hands its bytes to the others. */
public final class NcclId {
    /** Bytes of an id. */
    public static final int BYTES = 128;

    private final byte[] bytes;

    private NcclId(byte[] bytes) {
        this.bytes = bytes;
    }

    public static NcclId create() {
        NcclComm.load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment id = ncclUniqueId.allocate(arena);
            NcclComm.check("ncclGetUniqueId", ncclGetUniqueId(id), null);
            return new NcclId(id.toArray(C_CHAR));
        }
    }

    /** The id that another rank made. */
    public static NcclId of(byte[] bytes) {
        if (bytes.length != BYTES) {
            throw new IllegalArgumentException("an NCCL id has %d bytes, got %d".formatted(BYTES, bytes.length));
        }
        return new NcclId(bytes.clone());
    }

    public byte[] bytes() {
        return bytes.clone();
    }
}
