/**
 * TransNormerLLM in pure Java. The map, in the order in which a reader may take it; SPEC.md has the same order.
 *
 * <table>
 * <caption>Packages</caption>
 * <tr><th>package</th><th>what</th><th>SPEC</th></tr>
 * <tr><td>{@link org.transnormer.model}</td><td>configuration, parameters, the order of component calls</td><td>2</td></tr>
 * <tr><td>{@link org.transnormer.gla}, {@link org.transnormer.sglu}, {@link org.transnormer.head}</td>
 *     <td>the sub-layers, one class each, composed of the leaves</td><td>4</td></tr>
 * <tr><td>{@link org.transnormer.srmsnorm}</td><td>SRMSNorm, and RMSNorm and LayerNorm beside it</td><td>3.1</td></tr>
 * <tr><td>{@link org.transnormer.lrpe}</td><td>learned positions</td><td>3.2</td></tr>
 * <tr><td>{@link org.transnormer.lightning}</td><td>Lightning Attention in four scalar forms and fast ones</td><td>3.3</td></tr>
 * <tr><td>{@link org.transnormer.linear}</td><td>the affine map</td><td>3.4</td></tr>
 * <tr><td>{@link org.transnormer.activation}, {@link org.transnormer.product}</td><td>elementwise</td><td>3.5, 3.6</td></tr>
 * <tr><td>{@link org.transnormer.embedding}, {@link org.transnormer.loss}</td><td>the two ends</td><td>3.7, 3.8</td></tr>
 * <tr><td>{@link org.transnormer.adamw}, {@link org.transnormer.decay}</td><td>optimizer; decay rates</td><td>3.9, 3.10</td></tr>
 * <tr><td>{@link org.transnormer.train}, {@link org.transnormer.inference}</td><td>steps and runs; token by token</td><td>2.6, 5</td></tr>
 * <tr><td>{@link org.transnormer.plan}</td><td>what a run on many GPUs needs, from its own code on none</td><td>7.6</td></tr>
 * <tr><td>{@link org.transnormer.checkpoint}, {@link org.transnormer.data}, {@link org.transnormer.tokenizer},
 *     {@link org.transnormer.plot}</td>
 *     <td>files</td><td>6</td></tr>
 * <tr><td>{@link org.transnormer.verify}, {@link org.transnormer.bench}</td><td>comparing numbers; measuring speed</td><td>1.4, 6.5</td></tr>
 * <tr><td>{@link org.transnormer.tensor}, {@link org.transnormer.simd}, {@link org.transnormer.random},
 *     {@link org.transnormer.parallel}, {@link org.transnormer.backend}</td><td>the ground</td><td>1, 7</td></tr>
 * <tr><td>{@link org.transnormer.cuda}</td><td>what CUDA twins stand on: NVIDIA's libraries, device memory, streams,
 *     launches; the kernels are beside the code, in the folder {@code cuda}</td><td>8</td></tr>
 * <tr><td>{@link org.transnormer.cli}</td><td>the command {@code tnl}</td><td></td></tr>
 * </table>
 *
 * A leaf component {@code X} is an interface {@code X} (formula and shapes), {@code XScalar} (the spec), {@code XVector}
 * and {@code XCuda}, whose kernels are in {@code cuda/} under the component's name, a contract {@code XContract} among
 * the tests, and a golden case under its package's name in {@code golden-tests}.
 */
package org.transnormer;
