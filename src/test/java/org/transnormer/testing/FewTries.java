package org.transnormer.testing;

import net.jqwik.api.lifecycle.AroundPropertyHook;
import net.jqwik.api.lifecycle.PropagationMode;
import net.jqwik.api.lifecycle.PropertyExecutionResult;
import net.jqwik.api.lifecycle.PropertyExecutor;
import net.jqwik.api.lifecycle.PropertyLifecycleContext;

/**
 * With {@code -Dtnl.test.tries=N} no property has more than N tries, whatever it asks for: under a tool that watches every
 * access a kernel takes up to a hundred times as long. Registered for all properties in META-INF/services.
 */
public final class FewTries implements AroundPropertyHook {
    private static final int MOST = Integer.getInteger("tnl.test.tries", Integer.MAX_VALUE);

    @Override
    public PropertyExecutionResult aroundProperty(PropertyLifecycleContext context, PropertyExecutor property) {
        if (context.attributes().tries().orElse(Integer.MAX_VALUE) > MOST) {
            context.attributes().setTries(MOST);
        }
        return property.execute();
    }

    @Override
    public PropagationMode propagateTo() {
        return PropagationMode.ALL_DESCENDANTS;
    }
}
