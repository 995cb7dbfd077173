package org.transnormer.product;

import net.jqwik.api.lifecycle.AfterContainer;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;

class ProductVectorTest implements ProductContract {
    private static final Workers WORKERS = new Workers(2);

    @AfterContainer
    static void stop() {
        WORKERS.close();
    }

    @Override
    public Product subject() {
        return new ProductVector(WORKERS);
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }
}
