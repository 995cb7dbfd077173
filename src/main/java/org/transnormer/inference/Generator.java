package org.transnormer.inference;

import java.util.function.Consumer;
import org.eclipse.collections.api.list.primitive.IntList;
import org.eclipse.collections.api.list.primitive.MutableIntList;
import org.eclipse.collections.impl.factory.primitive.IntLists;
import org.transnormer.tensor.Tensor;
import org.transnormer.tokenizer.TokenDecoder;
import org.transnormer.tokenizer.Tokenizer;

/** Text from a model, handed out as it is made. SPEC section 5. */
public final class Generator {

    /**
     * What was made.
     *
     * @param tokens tokens generated
     * @param ended whether the model ended the text, rather than the limit
     */
    public record Result(int tokens, boolean ended) {
    }

    private final RobustInference inference;
    private final Tokenizer tokenizer;
    private final Sampler sampler;

    public Generator(RobustInference inference, Tokenizer tokenizer, Sampler sampler) {
        this.inference = inference;
        this.tokenizer = tokenizer;
        this.sampler = sampler;
    }

    /**
     * Continues a prompt, as the beginning of a document.
     *
     * @param limit most tokens to generate
     * @param sequence number of the text: other numbers give other texts under one seed
     * @param sink receives whole characters as soon as they are there
     */
    public Result generate(String prompt, int limit, int sequence, Consumer<String> sink) {
        IntList encoded = tokenizer.encode(prompt);
        MutableIntList history = IntLists.mutable.withInitialCapacity(encoded.size() + limit + 1);
        history.add(tokenizer.bosId());
        history.addAll(encoded);
        inference.state().reset(0);
        Tensor logits = inference.extend(0, history.toArray());
        TokenDecoder decoder = tokenizer.decoder();
        int[] slot = {0};
        int[] token = {0};
        for (int made = 0; made < limit; made++) {
            token[0] = sampler.next(logits, 0, history, sequence, history.size());
            if (token[0] == tokenizer.eosId()) {
                sink.accept(decoder.finish());
                return new Result(made + 1, true);
            }
            history.add(token[0]);
            sink.accept(decoder.add(token[0]));
            if (made + 1 < limit) {
                logits = inference.decode(slot, token);
            }
        }
        sink.accept(decoder.finish());
        return new Result(limit, false);
    }
}
