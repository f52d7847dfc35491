// Prints how many nanoseconds a call of native code takes that does next to nothing: the best of $TURNS many, as the first
// ones run code that is not optimised yet. 0 turns: it only starts and ends.

using System;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

static class Calls
{
    const int CallsOfATurn = 500000;

    [DllImport("libc")]
    static extern int abs(int number);

    static void Main()
    {
        int turns = int.Parse(Environment.GetEnvironmentVariable("TURNS"), CultureInfo.InvariantCulture);
        double best = double.MaxValue;
        for (int turn = 0; turn < turns; turn++)
        {
            best = Math.Min(best, OneTurn());
        }
        if (turns != 0)
        {
            Console.WriteLine(best.ToString("F2", CultureInfo.InvariantCulture));
        }
    }

    static double OneTurn()
    {
        long begin = Stopwatch.GetTimestamp();
        for (int call = 0; call < CallsOfATurn; call++)
        {
            abs(call);
        }
        double seconds = (Stopwatch.GetTimestamp() - begin) / (double)Stopwatch.Frequency;
        return seconds / CallsOfATurn * 1e9;
    }
}
