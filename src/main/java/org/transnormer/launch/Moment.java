package org.transnormer.launch;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;

/**
 * Where a rank is in what all ranks do in the same order.
 *
 * @param phases begun so far
 * @param phase the last of them
 * @param step its number, where it is one
 * @param collectives begun so far
 */
record Moment(int phases, Phase phase, long step, long collectives) {
    static final Moment BEGINNING = new Moment(0, Phase.STARTING, 0, 0);

    void write(DataOutputStream to) throws IOException {
        to.writeInt(phases);
        to.writeByte(phase.ordinal());
        to.writeLong(step);
        to.writeLong(collectives);
    }

    static Moment read(DataInputStream from) throws IOException {
        int phases = from.readInt();
        int phase = from.readUnsignedByte();
        if (phase >= Phase.values().length) {
            throw new IOException("phase " + phase);
        }
        return new Moment(phases, Phase.values()[phase], from.readLong(), from.readLong());
    }

    /** Whether this rank has not come as far as another. */
    boolean isBehind(Moment other) {
        return phases != other.phases ? phases < other.phases : collectives < other.collectives;
    }
}
