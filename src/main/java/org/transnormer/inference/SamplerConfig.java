package org.transnormer.inference;

/**
 * How the next token is chosen. SPEC section 5.3.
 *
 * @param temperature τ ≥ 0; 0 is greedy
 * @param topK number of candidates kept; 0 keeps all
 * @param topP probability kept, 0 to 1; 1 keeps all, 0 the most probable token
 * @param repetitionPenalty ρ > 0; 1 is none
 * @param penaltyWindow number of last tokens that are penalised; ignored if ρ is 1
 * @param seed of the random numbers
 */
public record SamplerConfig(double temperature, int topK, double topP, double repetitionPenalty, int penaltyWindow,
        long seed) {
    /** The most probable token. */
    public static final SamplerConfig GREEDY = new SamplerConfig(0, 0, 1, 1, 0, 0);

    /** @throws IllegalArgumentException naming the value that is out of its range */
    public SamplerConfig {
        check(temperature >= 0 && temperature < Double.POSITIVE_INFINITY, "temperature", temperature, "0 or more");
        check(topK >= 0, "top-k", topK, "0 or more");
        check(topP >= 0 && topP <= 1, "top-p", topP, "from 0 to 1");
        check(repetitionPenalty > 0 && repetitionPenalty < Double.POSITIVE_INFINITY, "repetition penalty",
                repetitionPenalty, "more than 0");
        check(penaltyWindow >= 0, "penalty window", penaltyWindow, "0 or more");
    }

    private static void check(boolean ok, String name, double got, String want) {
        if (!ok) {
            throw new IllegalArgumentException("%s is %s, want %s".formatted(name, got, want));
        }
    }
}
