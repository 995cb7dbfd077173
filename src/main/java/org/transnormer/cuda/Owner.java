package org.transnormer.cuda;

import java.lang.foreign.MemorySegment;

/**
 * The one owner of a native resource. Closing is idempotent; a context closes what was made in it and is still open, the
 * latest first. An owner is used by one thread at a time.
 */
abstract class Owner implements AutoCloseable {
    private final Context context;
    private boolean closed;

    /** @param context where the resource lives; null for a context itself */
    Owner(Context context) {
        this.context = context;
        if (context != null) {
            context.adopt(this);
        }
    }

    /** Frees the resource; called once. */
    abstract void release();

    final void checkOpen() {
        if (closed) {
            throw new IllegalStateException(getClass().getSimpleName() + " is closed");
        }
    }

    /** The native handle, as long as it is valid. */
    final MemorySegment open(MemorySegment handle) {
        checkOpen();
        return handle;
    }

    @Override
    public final void close() {
        if (!closed) {
            closed = true;
            try {
                release();
            } finally {
                if (context != null) {
                    context.disown(this);
                }
            }
        }
    }
}
