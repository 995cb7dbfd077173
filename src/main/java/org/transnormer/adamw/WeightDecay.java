package org.transnormer.adamw;

/** Which parameters the weight decay applies to. SPEC section 3.9. */
public enum WeightDecay {
    /**
     * Every matrix, the embedding included; not the LRPE angles, norm weights and biases: an angle pulled to 0 is another
     * position encoding, not a simpler one.
     */
    MATRICES {
        @Override
        public boolean applies(String name, int dimensions) {
            return dimensions >= 2 && !name.endsWith(THETA);
        }
    },

    /** nanoTransNormer: every parameter of two or more dimensions in the checkpoint, the LRPE angles among them. */
    ALL_BUT_VECTORS {
        @Override
        public boolean applies(String name, int dimensions) {
            return dimensions >= 2;
        }
    };

    private static final String THETA = "lrpe.theta";

    /**
     * Whether a parameter decays.
     *
     * @param name as in the checkpoint: the angles end in {@code lrpe.theta}
     * @param dimensions number of dimensions of the parameter
     */
    public abstract boolean applies(String name, int dimensions);
}
