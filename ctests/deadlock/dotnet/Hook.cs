// Runs a test's program in place of the program whose startup hook it is: DOTNET_STARTUP_HOOKS is this, and HOOKED is the
// program's path.

using System;
using System.Reflection;

static class StartupHook
{
    public static void Initialize()
    {
        var program = Environment.GetEnvironmentVariable("HOOKED");
        // LoadFrom also finds what lies beside it.
        var main = Assembly.LoadFrom(program).EntryPoint;
        object result = main.Invoke(null, main.GetParameters().Length == 0 ? null : new object[] { new string[0] });
        Environment.Exit(result is int ? (int)result : 0);
    }
}
